/** docs/language.md names every field, slot field, builtin and helper there is, and the list of functions in errors.md is whole. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Project } from 'ts-morph';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { builtins } from '../../codegen/ir/builtins.ts';
import { slotTypes } from '../../codegen/ir/nodes.ts';
import * as params from '../../dsl/params.ts';
import * as rules from '../../dsl/rules.ts';
import { root } from '../../toolchain/folders.mjs';

const page = (name: string) => readFileSync(join(root, 'docs', name), 'utf8');
const language = page('language.md');
const missing = (names: readonly string[], text: string) =>
  names.filter((name) => !new RegExp(`\`[^\`]*\\b${name}\\b[^\`]*\``).test(text));

test('every field of a policy', () => {
  const project = new Project({ useInMemoryFileSystem: true });
  const sources = ['policy.ts', 'rules.ts'].map((name) =>
    project.createSourceFile(name, readFileSync(join(root, 'dsl', name), 'utf8')),
  );
  const fieldsOf = (name: string) =>
    sources.flatMap((source) => source.getInterface(name)?.getProperties() ?? []).map((field) => field.getName());
  assert.ok(fieldsOf('PolicySpec').length > 14);
  for (const name of ['PolicySpec', 'WindowRule', 'ProfileRule', 'Counting']) {
    assert.ok(fieldsOf(name).length > 0, name);
    assert.equal(missing(fieldsOf(name), language), [], name);
  }
});

test('every field of a slot, every function, every helper', () => {
  assert.equal(missing(Object.keys(slotTypes), language), []);
  assert.equal(missing(Object.keys(builtins), language), []);
  assert.equal(missing(Object.keys(builtins), page('errors.md')), []);
  assert.equal(missing(Object.keys({ ...params, ...rules }), language), []);
});

test.run();
