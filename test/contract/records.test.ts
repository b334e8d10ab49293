/** The printed half of the contract is what records.ts says, and both halves have the same words. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { filesOf } from '../../codegen/hash.ts';
import { record, snake, wordsOf } from '../../runtime/contract/fields.ts';
import { printed } from '../../runtime/contract/print.ts';
import { Row, Sampled, Sampler } from '../../runtime/contract/records.ts';
import { root } from '../../toolchain/folders.mjs';

const contract = join(root, 'runtime', 'contract');
const folder = mkdtempSync(join(tmpdir(), 'skv-records-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

test('what is committed is what is printed', () => {
  for (const [name, text] of Object.entries(printed()))
    assert.is(readFileSync(join(contract, name), 'utf8'), text, `${name} is old: npm run contract`);
});

test('TypeScript finds the words that C has', () => {
  const source = join(folder, 'words.cpp');
  const lines = Object.entries({ skv_row: Row, skv_sampler: Sampler, skv_sampled: Sampled }).flatMap(([name, words]) =>
    Object.entries(words).map(([field, at]) =>
      field === 'words'
        ? `static_assert(sizeof(${name}) == 4 * ${at}, "");`
        : `static_assert(offsetof(${name}, ${snake(field)}) == 4 * ${at}, "");`,
    ),
  );
  assert.ok(lines.length > 30);
  const compiles = (text: string): boolean => {
    writeFileSync(source, `#include "backend.h"\n${text}\n`);
    return spawnSync(process.env.CXX ?? 'c++', ['-std=c++17', '-fsyntax-only', `-I${contract}`, source]).status === 0;
  };
  assert.ok(compiles(lines.join('\n')));
  assert.not.ok(compiles('static_assert(offsetof(skv_row, tokens) == 4, "");'), 'the compiler looks');
});

test('the headers are C, too', () => {
  const source = join(folder, 'plain.c');
  writeFileSync(source, '#include "backend.h"\nint main(void) { return skv_role_name(0) == 0; }\n');
  const { status, stderr } = spawnSync(
    'cc',
    ['-std=c11', '-Wall', '-Werror', '-fsyntax-only', `-I${contract}`, source],
    {
      encoding: 'utf8',
    },
  );
  assert.is(status, 0, stderr);
});

test('names follow one rule, and words are counted', () => {
  assert.equal(['seedLo', 'kvHeads', 'pos0', 'K'].map(snake), ['seed_lo', 'kv_heads', 'pos0', 'K']);
  const fields = [
    { name: 'a', type: 'i32', doc: '' },
    { name: 'list', type: 'f32', count: 3, doc: '' },
    { name: 'b', type: 'i32', doc: '' },
  ] as const;
  assert.equal(wordsOf(record('r', '', fields)), { a: 0, list: 1, b: 4, words: 5 });
  assert.throws(() => wordsOf(record('r', '', [{ name: 'long', type: 'i64', doc: '' }])), /r\.long is no 32-bit word/);
});

test('a build of a policy is named by every header that it includes', () => {
  const includes = (name: string): string[] =>
    [...readFileSync(join(contract, name), 'utf8').matchAll(/#include "([^"]+)"/g)].flatMap(([, other]) => [
      other,
      ...includes(other),
    ]);
  const reached = ['abi.h', 'amx.cpu.h', 'layout.h', ...includes('abi.h')].sort();
  const templates = join(root, 'templates', 'cpu');
  for (const file of readdirSync(templates).filter((name) => name.endsWith('.hpp')))
    for (const [, name] of readFileSync(join(templates, file), 'utf8').matchAll(/#include "([^"]+)"/g))
      assert.ok(!existsSync(join(contract, name)) || reached.includes(name), `${file} includes ${name}`);
  const named = filesOf('cpu').filter((path) => path.startsWith('runtime/contract/'));
  assert.equal(
    named,
    reached.map((name) => `runtime/contract/${name}`),
  );
});

test.run();
