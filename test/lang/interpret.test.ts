/** The interpreter by hand-computed cases, and select against the rules of the language. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type SlotValues, advance, score, statistic, statistics } from '../../codegen/ir/interpret.ts';
import { type HeadSlots, type Limits, select } from '../../codegen/oracle/select.ts';
import { policyOf } from './snippets.ts';

const f = Math.fround;
const slot = (
  fields: SlotValues['fields'],
  states: Record<string, number> = {},
  params: Record<string, number> = {},
): SlotValues => ({ fields, states, params });

test('next: every state reads the others as they were', () => {
  const policy = policyOf(`observe: 'every', accumulate: {
      a: { init: 0, next: (a, slot) => a + slot.b * slot.attn },
      b: { init: 1, next: (b, slot) => slot.a + 10 },
    }, params: { n: number(3) }, score: (slot) => slot.a * slot.params.n`);
  assert.equal(advance(policy.states, slot({ attn: 0.5 }, { a: 1, b: 4 })), { a: 3, b: 11 });
  assert.equal(Array.from(score(policy, [slot({}, { a: 2, b: 0 }, { n: 7 })])), [14]);
});

test('f32 after every operation', () => {
  const policy = policyOf('score: (slot) => slot.pos * 0.1 + 0.2 - 0.3');
  const expected = f(f(f(7 * f(0.1)) + f(0.2)) - f(0.3));
  assert.is(score(policy, [slot({ pos: 7 })])[0], expected);
  assert.is.not(expected, f(7 * 0.1 + 0.2 - 0.3));
});

test('a positional policy scores positions', () =>
  assert.equal(Array.from(score(policyOf(''), [slot({ pos: 3 }), slot({ pos: 5 })])), [3, 5]));

test('statistics: sixteen interleaved sums, then a tree; extremes leave NaN and -0 out', () => {
  const policy =
    policyOf(`across: { s: { sum: (x) => x.pos }, m: { mean: (x) => x.pos }, hi: { max: (x) => x.pos }, lo: { min: (x) => x.key } },
    score: (x, { s, m, hi, lo }) => s + m + hi + dot(lo, lo)`);
  const [sum, mean, max, min] = policy.across;
  const values = Array.from({ length: 33 }, (_, i) => f(10 ** ((i * 7) % 9)));
  const slots = values.map((pos) => slot({ pos }));
  let part = Array.from({ length: 16 }, (_, i) => f(values[i] + values[i + 16]));
  part[0] = f(part[0] + values[32]);
  for (const width of [8, 4, 2, 1]) part = part.slice(0, width).map((x, i) => f(x + part[i + width]));
  const [total] = part;
  assert.is(statistic(sum, slots), total);
  assert.is(statistic(mean, slots), f(total / 33));
  assert.is(statistic(max, [slot({ pos: Number.NaN }), slot({ pos: 2 }), slot({ pos: Number.NaN })]), 2);
  assert.is(statistic(max, [slot({ pos: Number.NaN })]), -Infinity);
  assert.ok(Object.is(statistic(max, [slot({ pos: -0 }), slot({ pos: -1 })]), 0), 'not -0');
  const keys = [
    [1, -5],
    [-2, 3],
  ].map((key) => slot({ key: Float32Array.from(key) }));
  assert.equal(Array.from(statistic(min, keys) as Float32Array), [-2, -5]);
});

test('partitions: extremes of the next one, softmax and rank in their own, of what stands above', () => {
  const policy = policyOf(`across: {
      low: { min: (x) => x.pos, partition: 'next' }, top: { partition: 'next', max: (x) => x.key },
      part: { softmax: (x) => x.age },
      place: { rank: (x, { low, part }) => (low === Infinity ? part : x.age) },
    }, partitions: { first: 1, size: 2 }, score: (x, { low, top, part, place }) => low + norm(top) + part + place`);
  // ages of positions 0 | 1 2 | 3 4 | 7: none of 5 and 6
  const ages = [4, 1, 1, Number.NaN, 2, 0];
  const slots = [0, 1, 2, 3, 4, 7].map((pos, i) => slot({ pos, age: ages[i], key: Float32Array.of(pos, -pos) }));
  const read = statistics(policy, slots);
  const column = (name: string) => read.map((each) => each[name]);
  assert.equal(column('low'), [1, 3, 3, Infinity, Infinity, Infinity]);
  assert.equal(
    column('top').map((top) => [...(top as Float32Array)]),
    [[2, -1], [4, -3], [4, -3], ...Array(3).fill([-Infinity, -Infinity])],
  );
  assert.equal(column('part').slice(0, 3), [1, 0.5, 0.5]);
  assert.is(column('part')[5], 1);
  assert.ok(column('part').slice(3, 5).every(Number.isNaN), 'NaN is in the sum');
  assert.equal(column('place'), [0, 1, 0, 1, 0, 0], 'the newer of two equals is the better');
});

const limits = (budget: number, more: Partial<Limits> = {}): Limits => ({
  budget,
  first: 0,
  last: 0,
  length: 1000,
  prompt: 0,
  ...more,
});
const head = (...scores: number[]): HeadSlots => ({ positions: scores.map((_, i) => i), scores });
const SCORE = 'score: (slot) => slot.pos,';

test('topK: the lowest leave, NaN before all, the older among equals; 0 equals -0', () => {
  const policy = policyOf(`${SCORE} keep: topK(3)`);
  assert.equal(select(policy, [head(5, 1, 4, 3, 2)], limits(3)), [[0, 2, 3]]);
  assert.equal(select(policy, [head(Number.NaN, -Infinity, 1, 2)], limits(3)), [[1, 2, 3]]);
  assert.equal(select(policy, [head(1, 1, 1, 1, 1)], limits(2)), [[3, 4]]);
  assert.equal(select(policy, [head(0, -0, 0, -0)], limits(2)), [[2, 3]]);
  assert.equal(select(policy, [head(1, 2)], limits(9)), [[0, 1]]);
});

test('window: protected slots stay and count towards the budget', () => {
  const policy = policyOf(`${SCORE} keep: topK(4), window: { classes: ['punctuation'] }`);
  const heads = [{ ...head(9, 8, 7, 6, 5, 4, 3, 2), classes: [0, 1, 2, 0, 0, 0, 0, 0] }];
  // 0 first, 2 punctuation, 7 last: one place is left, for 1
  assert.equal(select(policy, heads, limits(4, { first: 1, last: 1, length: 8 })), [[0, 1, 2, 7]]);
  assert.equal(
    select(policy, heads, limits(1, { first: 2, last: 2, length: 8 })),
    [[0, 1, 2, 6, 7]],
    'the window exceeds it',
  );
  const prompt = policyOf(`${SCORE} keep: topK(4), window: { prompt: true }`);
  assert.equal(select(prompt, [head(1, 1, 1, 5, 4, 6)], limits(4, { prompt: 3, length: 6 })), [[0, 1, 2, 5]]);
});

test('pool: the mean counts zeros beyond the ends, the maximum does not; both among candidates alone', () => {
  const mean = policyOf(`${SCORE} keep: topK(1), pool: mean(3)`);
  // thirds of 9, 9, 14, 11, 11, 6: the best is between 9 and 5, then the newer of two equals
  assert.equal(select(mean, [head(0, 9, 0, 5, 6, 0)], limits(2)), [[2, 4]]);
  const max = policyOf(`${SCORE} keep: topK(1), pool: peak(3)`);
  assert.equal(select(max, [head(-3, -9, -9, -1, -9)], limits(3)), [[2, 3, 4]]);
  assert.equal(
    select(mean, [head(0, 0, 3, 100)], limits(3, { last: 1, length: 4 })),
    [[1, 2, 3]],
    'the window adds nothing',
  );
});

test('heads: own, shared, pooled', () => {
  const heads = [head(9, 8, 1, 1), head(1, 2, 3, 9)];
  assert.equal(select(policyOf(`${SCORE} keep: topK(2)`), heads, limits(2)), [
    [0, 1],
    [2, 3],
  ]);
  assert.equal(
    select(policyOf(`${SCORE} keep: topK(2), heads: 'shared'`), heads, limits(2)),
    [
      [1, 3],
      [1, 3],
    ],
    'means 5, 5, 2, 5',
  );
  // the best four: 9, 9, 8 and 3. alpha 0: each head keeps what it won, alpha 1: its own budget
  const lopsided = [head(9, 8, 7, 6), head(5, 1, 1, 1)];
  assert.equal(select(policyOf(`${SCORE} keep: topK(2), heads: pooled(0)`), lopsided, limits(2)), [[0, 1, 2, 3], []]);
  assert.equal(select(policyOf(`${SCORE} keep: topK(2), heads: pooled(1)`), lopsided, limits(2)), [
    [0, 1],
    [0, 3],
  ]);
  assert.equal(select(policyOf(`${SCORE} keep: topK(2), heads: pooled(0.5)`), lopsided, limits(2)), [[0, 1, 2], [0]]);
  // a half of two is one slot of each, then 8 and 7; of three it is one, a protected one among them
  const half = policyOf(`${SCORE} keep: topK(2), heads: pooled({ guaranteed: 0.5 })`);
  assert.equal(select(half, lopsided, limits(2)), [[0, 1, 2], [0]]);
  assert.equal(select(half, lopsided, limits(3, { last: 1 })), [
    [0, 1, 2, 3],
    [0, 3],
  ]);
});

test('above and chunks', () => {
  assert.equal(
    select(policyOf(`${SCORE} keep: above(2)`), [head(1, 2, 3, Number.NaN, 9)], limits(0, { threshold: 2 })),
    [[2, 4]],
  );
  const chunked = policyOf(`${SCORE} keep: chunks(2, 4)`);
  assert.equal(select(chunked, [head(1, 1, 9, 0, 3, 3, 4)], limits(3)), [[2, 3, 6]], 'means 1, 4.5, 3, 4');
  assert.equal(
    select(chunked, [head(9, 9, 8, 8, 1)], limits(3)),
    [[0, 1]],
    'the next chunk does not fit: it and the rest go',
  );
  const moved = { positions: [1, 2, 3, 8, 9], scores: [0, 5, 5, 9, 9] };
  assert.equal(select(chunked, [moved], limits(4)), [[1, 2, 3, 4]], 'chunks are of positions, not of slots');
});

test('everything', () => assert.equal(select(policyOf('keep: everything'), [head(1, 2)], limits(0)), [[0, 1]]));

test.run();
