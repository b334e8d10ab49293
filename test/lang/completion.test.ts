/**
 * What an editor offers where an author writes: every word of the language at its place, names of parameters, states and
 * statistics where they fit, and nothing of a browser. A word that no place here offers fails.
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import ts from 'typescript';
import * as skv from '../../dsl/index.ts';
import { author, dsl, offered } from './editor.ts';
import { IMPORTS } from './snippets.ts';

/** A policy with names of every kind; a place replaces one of its fields, or adds one. */
const fields = {
  name: "'mine'",
  params: '{ budget: tokens(64), share: fraction(0.5), gain: number(1) }',
  observe: "'every'",
  accumulate: '{ mass: { init: 0, next: (mass, slot) => mass + slot.attn } }',
  across: '{ level: { mean: (slot) => slot.mass }, anchor: { mean: (slot) => slot.key } }',
  score: '(slot, across) => slot.mass - across.level',
  keep: "topK('budget')",
};
/** Names of the parameters that count: any slots, whole ones. */
const [SIZES, COUNTS] = ['budget share', 'budget'];
const SLOT = 'age attn head heads key layer layers length live mass params pos punctuation random seen special value';

/**
 * A field, its text with a mark, and all that is offered there. TypeScript offers no names for the sizes of a profile's rules,
 * nor for what a `softmax` or `rank` reads of the statistics above it: it infers these types from what is being written.
 */
const places: [keyof typeof fields | string, string, string][] = [
  ['params', '{ budget: tokens(64, { █ }) }', 'max min'],
  ['params', '{ share: fraction(0.5, { █ }) }', 'max min'],
  ['params', '{ gain: number(1, { █ }) }', 'max min'],
  ['observe', "'█'", 'decode every'],
  ['observe', "['█']", 'decode every'],
  ['observe', "[{ █ }, 'decode']", 'last'],
  ['observe', "{ last: '█' }", SIZES],
  ['group', "'█'", 'max mean none sum'],
  ['accumulate', '{ mass: { █ } }', 'init last next once sum'],
  ['accumulate', '{ mass: { once: (slot) => slot.█ } }', 'head heads key layer layers pos punctuation special value'],
  ['accumulate', '{ mass: { init: 0, next: (mass, slot) => slot.█ } }', SLOT],
  ['accumulate', '{ mass: { init: 0, next: (mass, slot) => slot.params.█ } }', 'budget gain share'],
  ['accumulate', "{ mass: { last: '█', sum: (slot) => slot.attn } }", COUNTS],
  ['accumulate', '{ mass: { last: 400, sum: (slot) => slot.█ } }', SLOT],
  ['across', '{ level: { █ } }', 'max mean min nth of partition rank softmax sum'],
  ['across', '{ level: { max: (slot) => slot.█ } }', SLOT],
  ['across', '{ level: { softmax: (slot) => slot.█ } }', SLOT],
  ['across', '{ level: { rank: (slot) => slot.█ } }', SLOT],
  ['across', '{ level: { rank: (slot) => slot.params.█ } }', 'budget gain share'],
  ['across', "{ level: { max: (slot) => slot.mass, partition: '█' } }", 'next'],
  ['across', "{ level: { nth: '█', of: (slot) => slot.mass } }", COUNTS],
  ['partitions', '{ █ }', 'first size'],
  ['partitions', "{ size: '█' }", COUNTS],
  ['partitions', "{ first: '█', size: 64 }", COUNTS],
  ['score', '(slot) => slot.█', SLOT],
  ['score', '(slot, across) => across.█', 'anchor level'],
  ['heads', "'█'", 'own shared'],
  ['heads', 'pooled({ █ })', 'guaranteed'],
  ['layers', "'█'", 'uniform'],
  ['keep', "topK('█')", SIZES],
  ['keep', "topK('budget', { █ })", 'besides'],
  ['keep', "topK('budget', { besides: '█' })", 'protected'],
  ['keep', "chunks(16, '█')", SIZES],
  ['keep', "chunks(16, 'budget', { █ })", 'besides'],
  ['keep', "above('█')", 'gain'],
  ['keep', "profile('█', 'mass', [everything])", 'gain'],
  ['keep', "profile(0.9, '█', [everything])", 'mass'],
  // kind is what everything has
  ['keep', "profile(0.9, 'mass', [{ █ }, everything])", 'classes kind last top'],
  ['keep', "profile(0.9, 'mass', [{ classes: ['█'] }, everything])", 'punctuation special'],
  ['window', '{ █ }', 'classes first last prompt'],
  ['window', "{ first: '█' }", SIZES],
  ['window', "{ last: '█' }", SIZES],
  ['window', "{ classes: ['█'] }", 'punctuation special'],
  ['when', "every('█')", 'auto'],
  ['when', "over('█')", COUNTS],
  ['when', "promptChunk('█')", COUNTS],
  ['when', "[every(16), promptChunk('█')]", COUNTS],
  ['positions', "'█'", 'cache original'],
  ['place', "'█'", 'device host'],
  ['store', "'█'", 'bf16 f32'],
];

const policy = (literal: string) => `${IMPORTS}\nexport default definePolicy({ ${literal} });\n`;
const FIELDS =
  'accumulate across group heads keep layers name observe params partitions place pool positions score store when window';

for (const [field, text, expected] of places)
  test(`${field}: ${text}`, () => {
    const all = { ...fields, [field]: text };
    const order = FIELDS.split(' ').sort((a, b) => rank(a) - rank(b));
    const literal = order.filter((name) => name in all).map((name) => `${name}: ${all[name as keyof typeof all]}`);
    assert.is(
      offered(policy(literal.join(', ')))
        .filter(Boolean)
        .sort()
        .join(' '),
      expected,
    );
  });

/** TypeScript infers in order: what names are introduced in before what reads them. */
const rank = (field: string) => ['params', 'accumulate', 'across', 'score'].indexOf(field);

test('an empty policy', () => assert.is(offered(policy('█')).sort().join(' '), FIELDS));

test('whatever skv exports', () => {
  const names = new Set(offered("import { █ } from 'skv';"));
  assert.equal(
    Object.keys(skv).filter((name) => !names.has(name)),
    [],
  );
});

test('after `when:` triggers, and nothing of a browser', () => {
  const names = new Set(
    offered(readFileSync(author, 'utf8').replace('when: every(1)', 'when: █').replace('every,', 'every, over,')),
  );
  for (const name of ['every', 'over']) assert.ok(names.has(name), name);
  for (const name of ['document', 'window', 'addEventListener', 'localStorage', 'alert', 'process', 'require'])
    assert.not.ok(names.has(name), name);
});

/** Fields, options and names in quotes that an author writes, but for what helpers make: that has a kind. */
function words(file: ts.SourceFile): string[] {
  const found = new Set<string>();
  const named = (member: ts.Node) => (ts.isPropertySignature(member) ? member.name.getText(file) : '');
  const visit = (node: ts.Node): void => {
    if (ts.isInterfaceDeclaration(node) && node.name.text === 'Range') return; // of a parameter as helpers make it
    if (
      (ts.isInterfaceDeclaration(node) || ts.isTypeLiteralNode(node)) &&
      node.members.some((each) => named(each) === 'kind')
    )
      return;
    if (ts.isIndexedAccessTypeNode(node) || (ts.isPropertySignature(node) && ts.isComputedPropertyName(node.name)))
      return;
    if (ts.isPropertySignature(node)) found.add(named(node));
    if (ts.isLiteralTypeNode(node) && ts.isStringLiteral(node.literal)) found.add(node.literal.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return [...found];
}

test('every word of the language is offered somewhere', () => {
  const known = new Set([...places.flatMap(([, , expected]) => expected.split(' ')), ...FIELDS.split(' ')]);
  const all = dsl.flatMap((path) =>
    words(ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022)),
  );
  assert.ok(all.length > 60, `${all.length} words`);
  assert.equal(
    all.filter((word) => !known.has(word)),
    [],
  );
});

test.run();
