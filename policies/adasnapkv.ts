import { definePolicy, mean, pooled, promptEnd, tokens, topK } from 'skv';

/**
 * Ada-KV with SnapKV's score as in NVIDIA's kvpress, where a fifth of each head's budget is guaranteed to it and its best slots
 * fill it, and all other slots of the layer compete for the rest. adakv has the authors' rule, which mixes the two. Feng et
 * al. 2024, arXiv:2407.11550.
 * Deviation: kvpress takes the mean over neighbours before the mean over a group's query heads; both are sums, and commute.
 */
export default definePolicy({
  name: 'adasnapkv',
  params: { budget: tokens(1024), window: tokens(64) },
  observe: { last: 'window' },
  group: 'mean',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
  },
  score: (slot) => slot.mass,
  pool: mean(5),
  heads: pooled({ guaranteed: 0.2 }),
  window: { last: 'window' },
  keep: topK('budget'),
  when: promptEnd,
});
