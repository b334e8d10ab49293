/** What is said of mistakes that TypeScript finds but words for itself: one sentence, with what to do. */
import { basename } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { check } from '../../codegen/front/check.ts';
import { stateForms, statisticForms } from '../../codegen/front/forms.ts';
import { lasting } from '../../codegen/ir/nodes.ts';
import { files, IMPORTS, mistakes, mistakesIn } from './snippets.ts';

const STATE = "observe: 'every', accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },";

/** Fields with one mistake, and all that is said of it: message and hint. */
const alone: [string, string, string, string][] = [
  [
    'a budget of the wrong kind',
    'params: { gain: number(2), budget: tokens(64), share: fraction(0.2) }, keep: topK("gain")',
    'TS2322: gain is a parameter of number(…), which does not fit here.',
    'a number, or one of budget, share',
  ],
  [
    'a history as long as a part',
    "params: { part: fraction(0.5) }, observe: 'every', accumulate: { low: { last: 'part', sum: (slot) => slot.attn } }, score: (slot) => slot.low",
    'TS2322: part is a parameter of fraction(…), which does not fit here.',
    'a number, or the name of a parameter that fits: params: { … }',
  ],
  [
    'partitions that are no parameter, though a statistic is read',
    "across: { place: { rank: (slot) => slot.pos } }, partitions: { size: 'lag' }, score: (slot, across) => across.place",
    'TS2322: There is no parameter lag.',
    'a number, or the name of a parameter that fits: params: { … }',
  ],
  [
    'a size of a rule beside the name of a state',
    `params: { most: number(4) }, ${STATE} score: (slot) => slot.mass, keep: profile(0.9, 'mass', [{ top: 'most' }, everything])`,
    'TS2322: most is a parameter of number(…), which does not fit here.',
    'a number, or the name of a parameter that fits: params: { … }',
  ],
  [
    'a parameter without a helper',
    'params: { gain: 4 }',
    `TS2322: Type 'number' is not assignable to type 'Param'.`,
    'tokens(512), fraction(0.25) or number(1)',
  ],
  [
    'half a history',
    "observe: 'every', accumulate: { low: { last: 9 } }, score: (slot) => slot.low",
    'TS2322: low has no sum.',
    stateForms,
  ],
  [
    'a statistic that there is not',
    'across: { level: { median: (slot) => slot.pos } }, score: (slot, { level }) => level',
    'TS2353: level is written in no way that is known.',
    statisticForms,
  ],
  [
    'half a statistic',
    'across: { level: { nth: 3 } }, score: (slot, { level }) => level',
    'TS2322: level has no of.',
    statisticForms,
  ],
  [
    'a statistic that is a number',
    'across: { level: { mean: 3 } }, score: (slot, { level }) => level',
    'TS2322: level is written in no way that is known.',
    statisticForms,
  ],
  [
    'a mean that reads another statistic',
    'across: { most: { max: (slot) => slot.pos }, level: { mean: (slot, across) => across.most } }, score: (slot, { level }) => level',
    'TS2322: This function takes 2 values; it is given 1.',
    'score, softmax and rank are given (slot, across), next (state, slot), all others (slot)',
  ],
  [
    'a score above its statistics',
    'score: (slot, { level }) => level, across: { level: { mean: (slot) => slot.pos } }',
    'TS2339: No statistic level is known yet.',
    'write across above score',
  ],
  [
    'once of what changes',
    'accumulate: { a: { once: (slot) => slot.live } }, score: (slot) => slot.a',
    'TS2339: slot.live may be another number later: what is computed once reads what never changes.',
    `read ${[...lasting].join(', ')}, or read slot.live in the score`,
  ],
  [
    'a rule where a list is needed',
    `${STATE} score: (slot) => slot.mass, keep: profile(0.9, 'mass', { top: 4 })`,
    'TS2353: This is a list.',
    '[ … ]',
  ],
  [
    'an observed window by another name',
    `observe: { first: 4 }, ${STATE.replace("observe: 'every', ", '')} score: (slot) => slot.mass`,
    'TS2353: observe has no field first.',
    'the fields are last',
  ],
  [
    'a condition as a score',
    'score: (slot) => slot.special',
    "TS2322: Type 'boolean' is not assignable to type 'number'.",
    'condition ? 1 : 0',
  ],
  ['a field that no slot has', 'score: (slot) => slot.agee', 'TS2551: slot has no agee.', 'did you mean age?'],
];

for (const [what, fields, message, hint] of alone)
  test(`one sentence and no noise: ${what}`, () => {
    assert.equal(
      mistakes(fields).map((each) => [each.message, each.hint]),
      [[message, hint]],
    );
  });

test('a table that is none is told where it is read', () => {
  const told = (table: string, read: string) =>
    mistakes(`score: (slot) => ${read}`, `const t = ${table};`).map(({ message }) => message);
  assert.equal(told('[1, "a"]', 't[slot.layer]'), ['TS2322: t has an element that is no number: "a".']);
  assert.equal(told('{ 0: 1 }', 't[slot.layer]'), ['TS7053: t is no table.']);
  assert.equal(told('[[1, 2], [3, 4]]', 't[slot.layer]'), ['TS2322: t is not read as it is written.']);
  assert.equal(told('[1, 2]', 't[slot.layer][slot.head]'), ['TS7053: t is not read as it is written.']);
});

test('JSON beside a policy: none, none of JSON, a name twice', () => {
  const said = (name: string, text?: string) => {
    const policy = `${IMPORTS}import table from './${name}.json';\nexport default definePolicy({ name: 'mine', score: (slot) => table.g[slot.layer], keep: topK(8) });\n`;
    const beside = text === undefined ? {} : { [`${name}.json`]: text };
    const [path] = files({ [`${name}.ts`]: policy, ...beside });
    return mistakesIn(path).map(({ slug, message, span }) => [slug, message.slice(0, 24), basename(span.file)]);
  };
  assert.equal(said('missing'), [['type-error', 'TS2307: Cannot find modu', 'missing.ts']]);
  assert.equal(said('cut', '{ "g": [1, 2'), [['type-error', "TS1005: ']' expected.", 'cut.json']]);
  assert.equal(said('comma', '{ "g": [1, 2], }'), [['type-error', 'This is not JSON: Expect', 'comma.json']]);
  assert.equal(said('comment', '{ "g": [1, 2] } // mine'), [
    ['type-error', 'This is not JSON: Unexpe', 'comment.json'],
  ]);
  assert.equal(said('twice', '{ "g": [1, 2], "g": [3, 4] }'), [['duplicate-name', 'g is there twice.', 'twice.json']]);
  assert.equal(said('text', '{ "g": [1, "2"] }'), [['type-error', 'TS2322: table.g has an e', 'text.ts']]);
  const [fine] = files({
    'fine.ts': `${IMPORTS}import t from './fine.json';\nexport default definePolicy({ name: 'mine', score: (slot) => t.g[slot.layer], keep: topK(8) });\n`,
    'fine.json': '\uFEFF{ "g": [1, -2e-3] }',
  });
  check(fine);
});

test.run();
