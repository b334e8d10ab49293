/** Every mistake has a case, and its whole printed error is the golden. UPDATE=1 rewrites; unexpected files fail. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PolicyErrors, catalogue, format } from '../../codegen/ir/diagnostics.ts';
import { lower } from '../../codegen/front/lower.ts';
import { preload, read } from '../../codegen/front/read.ts';
import { verify } from '../../codegen/ir/verify.ts';
import { root } from '../../toolchain/folders.mjs';

const folder = join(root, 'test', 'errors');
const cases = readdirSync(folder)
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.slice(0, -3))
  .sort();
preload(cases.map((name) => join(folder, `${name}.ts`)));

function errorsOf(name: string): PolicyErrors {
  try {
    verify(lower(read(join(folder, `${name}.ts`))));
  } catch (error) {
    if (error instanceof PolicyErrors) return error;
    throw error;
  }
  throw new Error(`${name}.ts was accepted`);
}

for (const name of cases) {
  test(`the printed error of ${name}`, () => {
    const { diagnostics } = errorsOf(name);
    const text = `${diagnostics.map((diagnostic) => format(diagnostic, root)).join('\n\n')}\n`;
    const golden = join(folder, `${name}.txt`);
    if (process.env.UPDATE) writeFileSync(golden, text);
    assert.ok(existsSync(golden), `${name}.txt is missing; UPDATE=1 writes it`);
    assert.is(text, readFileSync(golden, 'utf8'));
    if (name !== 'several')
      assert.ok(
        diagnostics.some(({ slug }) => slug === name),
        `${name}.ts reports its own slug`,
      );
    for (const { hint, message } of diagnostics)
      assert.ok(message.length > 10 && hint !== '', 'a message says something');
  });
}

test('several mistakes of one file are all reported, in order', () => {
  const { diagnostics } = errorsOf('several');
  assert.ok(diagnostics.length >= 5);
  assert.equal(
    diagnostics.map(({ span }) => span.line),
    diagnostics.map(({ span }) => span.line).sort((a, b) => a - b),
  );
});

test('catalogue, cases and docs/errors.md name the same mistakes', () => {
  const slugs = Object.keys(catalogue).sort();
  assert.equal(
    cases.filter((name) => name !== 'several'),
    slugs,
  );
  const documented = [...readFileSync(join(root, 'docs', 'errors.md'), 'utf8').matchAll(/^## (\S+)$/gm)]
    .map((match) => match[1])
    .sort();
  assert.equal(documented, slugs);
  const goldens = readdirSync(folder)
    .filter((name) => name.endsWith('.txt'))
    .map((name) => name.slice(0, -4))
    .sort();
  assert.equal(goldens, cases, 'no golden without a case');
});

test.run();
