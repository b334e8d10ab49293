import { definePolicy, over, pyramid, tokens, topK } from 'skv';

/**
 * Scissorhands: what was important stays important. Liu et al. 2023, arXiv:2305.17118, algorithm 2. A slot counts how many of
 * the last `history` queries, in each query head, gave it less than the average of the slots they saw; whenever a head is full (budget + drop),
 * `drop` slots leave at once, those with the highest counts, but for the most recent ones.
 * Deviations: one set per KV head, for which the counts of its query heads are added up; the count forgets by
 * eighths of `history`, and a slot that fewer queries have seen has fewer to count; later layers get more, the last one 4/3
 * of the budget: the paper says that they should, not how much.
 */
export default definePolicy({
  name: 'scissorhands',
  params: { budget: tokens(256), drop: tokens(256), history: tokens(400, { min: 8 }), recent: tokens(10) },
  observe: 'every',
  group: 'none',
  accumulate: {
    low: { last: 'history', sum: (slot) => (slot.attn < 1 / slot.live ? 1 : 0) },
  },
  score: (slot) => -slot.low,
  layers: pyramid(0.75),
  window: { last: 'recent' },
  keep: topK('budget'),
  when: over('drop'),
});
