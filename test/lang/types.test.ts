/** What an author's editor says: TypeScript infers every callback from the names declared, and refuses the rest. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mistakes, policyOf } from './snippets.ts';

const STATE = 'accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }, observe: "every",';
const PARAMS = 'params: { budget: tokens(64), share: fraction(0.5), gain: number(1) },';

/** Fields, and a part of the one complaint that TypeScript has about them. */
const refused: [string, string, RegExp][] = [
  [
    'a wrong state name',
    `${STATE} score: (slot) => slot.mas`,
    /TS2551: Property 'mas' does not exist on type 'PolicySlot<never, "mass">'\. Did you mean 'mass'\?/,
  ],
  [
    'a wrong state name in next',
    `observe: 'every', accumulate: { mass: { init: 0, next: (m, slot) => m + slot.masss } }, score: (slot) => slot.mass`,
    /Did you mean 'mass'\?/,
  ],
  ['a wrong slot field', `score: (slot) => slot.position`, /TS2339: Property 'position' does not exist/],
  [
    'a wrong parameter',
    `${PARAMS} score: (slot) => slot.pos * slot.params.gian`,
    /TS2339: Property 'gian' does not exist on type '\{ readonly budget: number; readonly share: number; readonly gain: number; \}'/,
  ],
  [
    'a parameter of none',
    `score: (slot) => slot.pos * slot.params.gain`,
    /TS2339: Property 'gain' does not exist on type '\{\}'/,
  ],
  [
    'a wrong statistic',
    `across: { level: { mean: (slot) => slot.pos } }, score: (slot, across) => across.levle`,
    /TS2551: .*Did you mean 'level'\?/,
  ],
  ['a statistic of none', `score: (slot, across) => across.level`, /TS2339: Property 'level' does not exist/],
  ['a score that is boolean', `score: (slot) => slot.pos > 3`, /Type 'boolean' is not assignable to type 'number'/],
  ['a score that is a vector', `score: (slot) => slot.key`, /Type 'Vec' is not assignable to type 'number'/],
  [
    'a state that is text',
    `observe: 'every', accumulate: { mass: { init: 0, next: () => 'much' } }, score: (slot) => slot.mass`,
    /Type 'string' is not assignable to type 'number'/,
  ],
  [
    'a state that is a vector',
    `observe: 'every', accumulate: { mass: { init: 0, next: (m, slot) => slot.key } }, score: (slot) => slot.mass`,
    /Type 'Vec' is not assignable to type 'number'/,
  ],
  [
    'arithmetic on vectors',
    `score: (slot) => slot.key * 2`,
    /left-hand side of an arithmetic operation must be of type/,
  ],
  [
    'a number where a vector is needed',
    `score: (slot) => norm(slot.pos)`,
    /Argument of type 'number' is not assignable to parameter of type 'Vec'/,
  ],
  ['too few arguments', `score: (slot) => pow(slot.pos)`, /TS2554: Expected 2 arguments, but got 1/],
  ['an unknown field', `scores: 3`, /TS2561: .*'scores' does not exist.*Did you mean to write 'score'\?/],
  ['an unknown field of the window', `window: { latest: 3 }`, /'latest' does not exist/],
  [
    'a write to a state',
    `${STATE} score: (slot) => { slot.mass = 1; return 0; }`,
    /TS2540: Cannot assign to 'mass' because it is a read-only property/,
  ],
  [
    'a write to a field',
    `score: (slot) => { slot.pos = 1; return 0; }`,
    /TS2540: Cannot assign to 'pos' because it is a read-only property/,
  ],
  [
    'a write to a parameter',
    `${PARAMS} score: (slot) => { slot.params.gain = 1; return slot.pos; }`,
    /TS2540: Cannot assign to 'gain'/,
  ],
  [
    'a budget that is no parameter',
    `${PARAMS} keep: topK('bugdet')`,
    /Type '"bugdet"' is not assignable to type 'number \| "budget" \| "share"'/,
  ],
  ['a budget that is a plain number', `${PARAMS} keep: topK('gain')`, /TS2322: Type 'TopK<"gain">' is not assignable/],
  ['chunks of a plain number', `${PARAMS} keep: chunks(16, 'gain')`, /TS2322: Type 'Chunks<"gain">' is not assignable/],
  [
    'a threshold that counts tokens',
    `${PARAMS} score: (slot) => slot.pos, keep: above('budget')`,
    /TS2322: Type 'Above<"budget">' is not assignable/,
  ],
  [
    'a window of a plain number',
    `${PARAMS} window: { last: 'gain' }`,
    /Type '"gain"' is not assignable to type 'number \| "budget" \| "share" \| undefined'/,
  ],
  ['an observed window that is no parameter', `${PARAMS} observe: { last: 'w' }`, /Type '"w"' is not assignable/],
  ['a wrong word', `group: 'average'`, /Type '"average"' is not assignable to type '"sum" \| "mean" \| "max"/],
  ['an unknown class', `window: { classes: ['newline'] }`, /Type '"newline"' is not assignable/],
  ['a trigger that is a word', `when: 'always'`, /Type '(string|"always")' is not assignable/],
  [
    'two reductions of one statistic',
    `across: { a: { mode: (slot) => slot.pos } }, score: (slot) => slot.pos`,
    /'mode' does not exist/,
  ],
];

for (const [what, fields, message] of refused)
  test(`refused: ${what}`, () => {
    const found = mistakes(fields);
    assert.ok(
      found.every(({ slug }) => slug === 'type-error'),
      found.map(({ slug }) => slug).join(),
    );
    assert.ok(
      found.some((each) => message.test(each.message)),
      found.map((each) => each.message).join('\n'),
    );
  });

test('refused: no keep', () => {
  const found = mistakes(`score: (slot) => slot.pos /* keep: */`);
  assert.match(found[0].message, /Property 'keep' is missing/);
});

test('everything is inferred, in any order that declares across before score', () => {
  const policy = policyOf(`keep: topK('budget'),
    when: [promptEnd, every('auto'), over(8), promptChunk()],
    window: { first: 4, last: 'share', prompt: true, classes: ['special', 'punctuation'] },
    across: {
      level: { mean: (slot) => slot.mass * slot.params.gain },
      most: { max: (slot) => slot.mass },
      least: { min: (slot) => slot.key },
      anchor: { sum: (slot) => scale(slot.key, 1 / norm(slot.key)) },
    },
    score: ({ mass, params: { gain }, key }, { level, most, least, anchor }) =>
      mass / (level + most * gain) + cosine(key, anchor) + dot(least, anchor),
    accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn * slot.params.gain } },
    observe: [{ last: 'share' }, 'decode'],
    ${PARAMS}
    pool: peak(7), heads: pooled(0.2), layers: pyramid(20), positions: 'cache', store: 'bf16', evict: 'drop', place: 'device'`);
  assert.equal(
    policy.across.map(({ name, reduce, of }) => [name, reduce, of.type]),
    [
      ['level', 'mean', 'f32'],
      ['most', 'max', 'f32'],
      ['least', 'min', 'vec'],
      ['anchor', 'sum', 'vec'],
    ],
  );
});

test.run();
