import { definePolicy, peak, pooled, promptEnd, tokens, topK } from 'skv';

/**
 * Ada-KV: SnapKV's score with budgets that flow between the heads of a layer, so that their lengths differ. Feng et al. 2024,
 * arXiv:2407.11550. Half of each head's budget is its own, as in the authors' code.
 * Deviation: KV heads where the authors' first code used query heads.
 */
export default definePolicy({
  name: 'adakv',
  params: { budget: tokens(1024), window: tokens(32) },
  observe: { last: 'window' },
  group: 'mean',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
  },
  score: (slot) => slot.mass,
  pool: peak(7),
  heads: pooled(0.5),
  window: { last: 'window' },
  keep: topK('budget'),
  when: promptEnd,
});
