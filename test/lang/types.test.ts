/** What an author's editor says: TypeScript infers every callback from the names declared, and refuses the rest. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mistakes, policyOf } from './snippets.ts';

const STATE = 'accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }, observe: "every",';
const FIELDS =
  'the fields are name, params, observe, group, accumulate, across, partitions, score, pool, heads, layers, keep, window, when, positions, store, place';
const PARAMS = 'params: { budget: tokens(64), share: fraction(0.5), gain: number(1) },';

/** Fields, and a part of the one complaint that TypeScript has about them. */
const refused: [string, string, RegExp][] = [
  ['a wrong state name', `${STATE} score: (slot) => slot.mas`, /^TS2551: slot has no mas\.$/],
  [
    'a wrong state name in next',
    `observe: 'every', accumulate: { mass: { init: 0, next: (m, slot) => m + slot.masss } }, score: (slot) => slot.mass`,
    /^TS2551: slot has no masss\.$/,
  ],
  ['a wrong slot field', `score: (slot) => slot.position`, /^TS2339: slot has no position\.$/],
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
  ['a statistic of none', `score: (slot, across) => across.level`, /^TS2339: There is no statistic level\.$/],
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
  ['arithmetic on vectors', `score: (slot) => slot.key * 2`, /^TS2362: slot\.key is a vector; \* works on numbers\.$/],
  [
    'a number where a vector is needed',
    `score: (slot) => norm(slot.pos)`,
    /Argument of type 'number' is not assignable to parameter of type 'Vec'/,
  ],
  ['too few arguments', `score: (slot) => pow(slot.pos)`, /TS2554: Expected 2 arguments, but got 1/],
  ['an unknown field', `scores: 3`, /^TS2561: There is no field scores\.$/],
  ['an unknown field of the window', `window: { latest: 3 }`, /^TS2561: window has no field latest\.$/],
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
  ['a budget that is no parameter', `${PARAMS} keep: topK('bugdet')`, /^TS2322: There is no parameter bugdet\.$/],
  [
    'a budget that is a plain number',
    `${PARAMS} keep: topK('gain')`,
    /^TS2322: gain is a parameter of number\(…\), which does not fit here\.$/,
  ],
  ['chunks of a plain number', `${PARAMS} keep: chunks(16, 'gain')`, /^TS2322: gain is a parameter of number/],
  [
    'a threshold that counts tokens',
    `${PARAMS} score: (slot) => slot.pos, keep: above('budget')`,
    /^TS2322: budget is a parameter of tokens/,
  ],
  [
    'a profile of no state',
    `${STATE} score: (slot) => slot.mass, keep: profile(0.9, 'mas', [everything])`,
    /Type '"mas"' is not assignable to type '"mass"'/,
  ],
  [
    'a profile that reaches so many tokens',
    `${STATE} ${PARAMS} score: (slot) => slot.mass, keep: profile('budget', 'mass', [everything])`,
    /^TS2322: budget is a parameter of tokens/,
  ],
  [
    'a rule of a size that is no parameter',
    `${STATE} ${PARAMS} score: (slot) => slot.mass, keep: profile(0.9, 'mass', [{ top: 'most' }, everything])`,
    /^TS2322: There is no parameter most\.$/,
  ],
  [
    'a field that no rule has',
    `${STATE} score: (slot) => slot.mass, keep: profile(0.9, 'mass', [{ first: 4 }, everything])`,
    /first/,
  ],
  ['a window of a plain number', `${PARAMS} window: { last: 'gain' }`, /^TS2322: gain is a parameter of number/],
  [
    'an observed window that is no parameter',
    `${PARAMS} observe: { last: 'w' }`,
    /^TS2322: There is no parameter w\.$/,
  ],
  ['a wrong word', `group: 'average'`, /Type '"average"' is not assignable to type '"sum" \| "mean" \| "max"/],
  ['an unknown class', `window: { classes: ['newline'] }`, /Type '"newline"' is not assignable/],
  ['a trigger that is a word', `when: 'always'`, /Type '(string|"always")' is not assignable/],
  [
    'two reductions of one statistic',
    `across: { a: { mode: (slot) => slot.pos } }, score: (slot) => slot.pos`,
    /^TS2353: a is written in no way that is known\.$/,
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

/** Fields with one mistake, and all that is said of it: message and hint. */
const alone: [string, string, string, string][] = [
  [
    'no keep',
    'score: (slot) => slot.pos /* keep: */',
    'TS2345: The policy has no keep: which slots stay.',
    'keep: topK(512), above(0.001), chunks(16, 512), profile(0.95, …) or everything',
  ],
  ['a misspelt field', 'scroe: (slot) => slot.pos', 'TS2561: There is no field scroe.', 'did you mean score?'],
  [
    'a misspelt field whose states are read',
    `acumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }, observe: 'every', score: (slot) => slot.mass`,
    'TS2561: There is no field acumulate.',
    'did you mean accumulate?',
  ],
  [
    'a misspelt field whose statistics are read',
    'acros: { level: { mean: (slot) => slot.pos } }, score: (slot, across) => across.level',
    'TS2561: There is no field acros.',
    'did you mean across?',
  ],
  [
    'a misspelt keep',
    "params: { budget: tokens(64) }, kepe: topK('budget') /* keep: */",
    'TS2353: There is no field kepe.',
    'did you mean keep?',
  ],
  ['evict', `evict: 'drop'`, 'TS2353: There is no field evict.', FIELDS],
  [
    'a number times a vector',
    'score: (slot) => norm(2 * slot.key)',
    'TS2363: slot.key is a vector; * works on numbers.',
    'scale(slot.key, 2)',
  ],
  [
    'a difference of vectors',
    'score: (slot) => norm(slot.key - slot.value)',
    'TS2362: slot.key is a vector; - works on numbers.',
    'sub(slot.key, slot.value)',
  ],
  [
    'a sum of vectors',
    'score: (slot) => norm(slot.key + slot.value)',
    'TS2365: slot.key is a vector; + works on numbers.',
    'add(slot.key, slot.value)',
  ],
  [
    'a vector over its norm',
    'score: (slot) => norm(slot.key / norm(slot.key))',
    'TS2362: slot.key is a vector; / works on numbers.',
    'scale(slot.key, 1 / norm(slot.key))',
  ],
  [
    'a vector with a minus',
    'score: (slot) => norm(-slot.key)',
    'TS2345: slot.key is a vector; - works on numbers.',
    'scale(slot.key, -1)',
  ],
];

for (const [what, fields, message, hint] of alone)
  test(`one sentence and no noise: ${what}`, () => {
    const found = mistakes(fields);
    assert.equal(
      found.map((each) => [each.message, each.hint]),
      [[message, hint]],
    );
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
    pool: peak(7), heads: pooled(0.2), layers: pyramid(20), positions: 'cache', store: 'bf16', place: 'device'`);
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
