/** docs/language.md names every field, slot field, builtin and helper there is, and the list of functions in errors.md is whole. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Project } from 'ts-morph';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { builtins } from '../../codegen/ir/builtins.ts';
import { slotTypes } from '../../codegen/ir/nodes.ts';
import * as policy from '../../dsl/policy.ts';
import { root } from '../../toolchain/folders.mjs';

const page = (name: string) => readFileSync(join(root, 'docs', name), 'utf8');
const language = page('language.md');
const missing = (names: readonly string[], text: string) =>
  names.filter((name) => !new RegExp(`\`[^\`]*\\b${name}\\b[^\`]*\``).test(text));

test('every field of a policy', () => {
  const source = new Project({ useInMemoryFileSystem: true }).createSourceFile(
    'policy.ts',
    readFileSync(join(root, 'dsl/policy.ts'), 'utf8'),
  );
  const fields = source
    .getInterfaceOrThrow('PolicySpec')
    .getProperties()
    .map((field) => field.getName());
  assert.ok(fields.length > 14);
  assert.equal(missing(fields, language), []);
  for (const name of ['WindowRule', 'ProfileRule', 'Counting']) {
    const parts = source.getInterfaceOrThrow(name).getProperties();
    assert.equal(
      missing(
        parts.map((field) => field.getName()),
        language,
      ),
      [],
      name,
    );
  }
});

test('every field of a slot, every function, every helper', () => {
  assert.equal(missing(Object.keys(slotTypes), language), []);
  assert.equal(missing(Object.keys(builtins), language), []);
  assert.equal(missing(Object.keys(builtins), page('errors.md')), []);
  assert.equal(
    missing(
      Object.keys(policy).filter((name) => name !== 'definePolicy'),
      language,
    ),
    [],
  );
});

test.run();
