/**
 * No new word of the language without a shipped policy that needs it: each is a schedule on two targets, an error, a line of
 * docs. The exceptions here are as old as the language, or follow from a word that is used; whoever adds one says why.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Project } from 'ts-morph';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { shipped, shippedNames } from '../../codegen/build.ts';
import { check } from '../../codegen/front/check.ts';
import { preload } from '../../codegen/front/read.ts';
import { builtins } from '../../codegen/ir/builtins.ts';
import { fieldsOf } from '../../codegen/ir/fields.ts';
import { type Policy, type Size, slotTypes } from '../../codegen/ir/nodes.ts';
import { expressions } from '../../codegen/ir/uses.ts';
import { walk } from '../../codegen/ir/walk.ts';
import { root } from '../../toolchain/folders.mjs';

preload(shippedNames().map((name) => shipped(name)!));
const policies = shippedNames().map((name) => check(shipped(name)!).policy);
const nodes = policies.flatMap((policy) => expressions(policy).map(([, node]) => node));

/** Those of `words` that `used` has none of. */
const unused = (words: readonly string[], used: Iterable<string>): string[] => {
  const found = new Set(used);
  return words.filter((word) => !found.has(word)).sort();
};
const some = (of: (policy: Policy) => readonly (string | false | undefined)[]): string[] =>
  policies.flatMap(of).filter((word): word is string => typeof word === 'string');
const given = (size: Size): boolean => 'param' in size || size.tokens > 0;

const dsl = new Project({ useInMemoryFileSystem: true });
const interfaceOf = (file: string, name: string): string[] =>
  dsl
    .createSourceFile(`${name}.ts`, readFileSync(join(root, 'dsl', file), 'utf8'))
    .getInterfaceOrThrow(name)
    .getProperties()
    .map((property) => property.getName());

test('every field of a policy; store and place are what a server of several policies agrees on', () => {
  const used = some(({ at }) => Object.keys(at));
  assert.equal(unused(interfaceOf('policy.ts', 'PolicySpec'), used), ['place', 'store']);
});

test('every field of a slot; layer and head are what tables are read at, classes are a rule’s', () => {
  const free = ['head', 'heads', 'layer', 'layers', 'punctuation', 'special'];
  assert.equal(unused(Object.keys(slotTypes), fieldsOf(nodes)), free);
});

test('every function but the arithmetic that a formula may need', () => {
  const used = nodes.flatMap((node) => [...walk(node)].flatMap((each) => (each.op === 'call' ? [each.fn] : [])));
  const free = 'abs add ceil clamp cosine exp max min mul pow sigmoid sign tanh'.split(' ');
  assert.equal(unused(Object.keys(builtins), used), free);
});

test('every form of a state, a statistic, a table; one by layer is a table by head with less', () => {
  const forms = some(({ states }) => states.map(({ once, history }) => (once ? 'once' : history ? 'last' : 'next')));
  assert.equal(unused(['next', 'last', 'once'], forms), []);
  const statistics = some(({ across }) =>
    across.map(({ reduce, partition }) => `${reduce}${partition ? ' of the next' : ''}`),
  );
  assert.equal(
    unused(['mean', 'sum', 'max', 'min', 'max of the next', 'min of the next', 'nth', 'softmax', 'rank'], statistics),
    ['max', 'min', 'sum'],
  );
  assert.equal(
    unused(
      ['layer', 'head', 'factors'],
      some(({ tables, layers }) => [
        ...tables.map(({ heads }) => (heads ? 'head' : 'layer')),
        layers.kind === 'table' && 'factors',
      ]),
    ),
    ['factors', 'layer'],
  );
});

test('every way to observe, group, keep, pool, share, shape and trigger', () => {
  const observes = some(({ observe: { prompt, decode } }) => [
    prompt === 'every' && 'every',
    typeof prompt === 'object' && 'last',
    decode && 'decode',
  ]);
  assert.equal(unused(['every', 'last', 'decode'], observes), []);
  assert.equal(
    unused(
      ['sum', 'mean', 'max', 'none'],
      some(({ group, at }) => [at.group && group]),
    ),
    ['max'],
  );
  const keeps = some(({ keep }) => [keep.kind, 'besides' in keep && 'besides']);
  assert.equal(unused(['all', 'topK', 'above', 'chunks', 'profile', 'besides'], keeps), []);
  assert.equal(
    unused(
      ['mean', 'max'],
      some(({ pool }) => [pool?.kind]),
    ),
    [],
  );
  const heads = some(({ heads: each }) => [each.kind, each.kind === 'pooled' && each.guaranteed && 'guaranteed']);
  assert.equal(unused(['own', 'shared', 'pooled', 'guaranteed'], heads), []);
  assert.equal(
    unused(
      ['uniform', 'pyramid'],
      some(({ layers }) => [layers.kind]),
    ),
    [],
  );
  const triggers = some(({ when }) =>
    when.map((each) => (each.kind === 'every' && each.n === 'auto' ? 'auto' : each.kind)),
  );
  assert.equal(unused(['promptEnd', 'every', 'auto', 'over', 'promptChunk'], triggers), ['auto']);
  assert.equal(
    unused(
      ['original', 'cache'],
      some(({ positions }) => [positions]),
    ),
    [],
  );
});

test('every part of a window, a rule and a partition; classes of a window are those of a rule', () => {
  const windows = some(({ window: { first, last, prompt, classes } }) => [
    given(first) && 'first',
    given(last) && 'last',
    prompt && 'prompt',
    classes.length > 0 && 'classes',
  ]);
  assert.equal(unused(interfaceOf('policy.ts', 'WindowRule'), windows), ['classes']);
  const rules = some(({ keep }) =>
    (keep.kind === 'profile' ? keep.rules : []).flatMap(({ classes, top, last }) => [
      classes.length > 0 && 'classes',
      given(top) && 'top',
      given(last) && 'last',
    ]),
  );
  assert.equal(unused(interfaceOf('rules.ts', 'ProfileRule'), rules), []);
  const partitions = some(({ partitions: each }) =>
    each
      ? ['size', (each.first.op === 'param' || (each.first.op === 'const' && each.first.value !== 0)) && 'first']
      : [],
  );
  assert.equal(unused(interfaceOf('policy.ts', 'PartitionRule'), partitions), []);
});

test.run();
