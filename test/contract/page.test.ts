/** Where the fields of a page lie: one formula, the same in C and TypeScript, and nobody has another. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pageFields, pageLayout, slotBytes } from '../../runtime/contract/page.ts';
import { KvType } from '../../runtime/contract/records.ts';
import { root } from '../../toolchain/folders.mjs';

const folder = mkdtempSync(join(tmpdir(), 'skv-page-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const shapes = [16, 48, 64, 80, 96, 128, 256].flatMap((headDim) =>
  Object.values(KvType).flatMap((kvType) => [1, 2, 4, 7, 16].map((lanes) => ({ headDim, kvType, lanes }))),
);

test('a page of 64 dimensions in bf16 with 2 lanes, by hand', () => {
  const shape = { headDim: 64, kvType: KvType.bf16, lanes: 2 };
  assert.equal(pageLayout(shape), { keys: 0, values: 2048, lanes: 4096, bytes: 4224 });
  assert.is(slotBytes(shape), 264);
});

test('fields lie one behind the other, begin on cache lines, and only the length depends on the lanes', () => {
  for (const shape of shapes) {
    const { bytes, ...at } = pageLayout(shape);
    const starts = pageFields.map(({ name }) => at[name]);
    assert.equal(
      [...starts, bytes],
      [...starts, bytes].sort((a, b) => a - b),
    );
    for (const start of [...starts, bytes]) assert.is(start % 64, 0);
    assert.ok(bytes >= 16 * slotBytes(shape) && bytes < 16 * slotBytes(shape) + 64);
    const { bytes: _, ...other } = pageLayout({ ...shape, lanes: shape.lanes + 1 });
    assert.equal(other, at);
  }
  assert.throws(() => pageLayout({ headDim: 64, kvType: 9, lanes: 1 }), /no type 9/);
});

test('C has the same numbers', () => {
  const [source, program] = [join(folder, 'layout.cpp'), join(folder, 'layout')];
  const names = [...pageFields.map(({ name }) => name), 'bytes'] as const;
  writeFileSync(
    source,
    `#include <cstdio>
#include "layout.h"
int main() {
  int dim, type, lanes;
  while (scanf("%d %d %d", &dim, &type, &lanes) == 3) {
    const skv_page_layout at = skv_layout_of(dim, skv_kv_bytes(type), lanes);
    printf("${names.map(() => '%d').join(' ')}\\n", ${names.map((name) => `at.${name}`).join(', ')});
  }
}`,
  );
  const built = spawnSync(process.env.CXX ?? 'c++', [
    '-std=c++17',
    `-I${join(root, 'runtime/contract')}`,
    source,
    '-o',
    program,
  ]);
  assert.is(built.status, 0, String(built.stderr));
  const { stdout } = spawnSync(program, {
    input: shapes.map(({ headDim, kvType, lanes }) => `${headDim} ${kvType} ${lanes}\n`).join(''),
    encoding: 'utf8',
  });
  const expected = shapes.map((shape) => names.map((name) => pageLayout(shape)[name]).join(' '));
  assert.equal(stdout.trim().split('\n'), expected);
});

/** Sizes of pages or of their fields, computed by hand. */
const byHand = [
  /\b[24]\)? \* (?:SKV_)?PAGE \* /, // both halves, or words in bytes
  /\b(?:SKV_)?PAGE \* \(?[24]\b/,
  /\b(?:SKV_)?PAGE \* [\w.>-]*[dD]im\w* \*/, // a field in bytes
  /(?:page|keys|values)(?:\(\w*\))? [+] (?:SKV_)?PAGE \* /, // a field's end
  /[dD]im\w* \* (?:\w+ \* )?(?:SKV_)?PAGE\b/,
];
const findsOwnFormula = (line: string): boolean => byHand.some((pattern) => pattern.test(line));

test('nobody computes a page by hand', () => {
  const folders = ['bench', 'cli', 'eval', 'runtime', 'templates', 'test'];
  const sources = folders.flatMap((name) =>
    (readdirSync(join(root, name), { recursive: true }) as string[])
      .map((file) => join(name, file))
      .filter((file) => /\.(ts|h|hpp|cuh|cpp|hbs)$/.test(file) && file !== 'test/contract/page.test.ts'),
  );
  assert.ok(sources.length > 150);
  const found = sources.flatMap((file) =>
    readFileSync(join(root, file), 'utf8')
      .split('\n')
      .flatMap((line, i) => (findsOwnFormula(line) ? [`${file}:${i + 1}: ${line.trim()}`] : [])),
  );
  assert.equal(
    found.filter((line) => !line.startsWith('runtime/contract/layout.h:')),
    [],
  );
  assert.ok(found.length > 0, 'the search finds the one formula');
});

test('the search knows the ways in which it was done before', () => {
  for (const line of [
    'Math.ceil((2 * PAGE * headDim * element + lanes * PAGE * 4) / 64) * 64;',
    'return (2 * SKV_PAGE * head_dim * element + lanes * SKV_PAGE * 4 + 63) / 64 * 64;',
    'const size_t offset = size_t(2) * SKV_PAGE * shape_.head_dim * element;',
    'shape.page_bytes = (SKV_PAGE * (4 * s.dim + shape.lanes * 4) + 63) / 64 * 64;',
    'auto* lanes = reinterpret_cast<float*>(at + SKV_PAGE * 4 * spec.dim);',
    'Word* values(int p) const { return keys(p) + SKV_PAGE * dim; }',
    'const size_t half = (size_t)SKV_PAGE * dim * size_of(type);',
    'return page + SKV_PAGE * h.dim * sizeof(typename KV::Word);',
  ])
    assert.ok(findsOwnFormula(line), line);
  assert.not.ok(findsOwnFormula('turned = scratch->take<typename KV::Word>(SKV_PAGE * dim);'), 'room for keys alone');
});

test.run();
