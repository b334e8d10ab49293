import { definePolicy, mean, promptEnd, pyramid, tokens, topK } from 'skv';

/**
 * PyramidKV: SnapKV's score with budgets that fall from the first layer to the last. Cai et al. 2024, arXiv:2406.02069.
 * Deviation: one set per KV head, as in snapkv. The window of 8 is the one of the authors' LongBench runs.
 */
export default definePolicy({
  name: 'pyramidkv',
  params: { budget: tokens(1024), window: tokens(8) },
  observe: { last: 'window' },
  group: 'mean',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
  },
  score: (slot) => slot.mass,
  pool: mean(5),
  layers: pyramid(20),
  window: { last: 'window' },
  keep: topK('budget'),
  when: promptEnd,
});
