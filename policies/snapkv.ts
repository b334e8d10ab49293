import { definePolicy, mean, promptEnd, tokens, topK } from 'skv';

/**
 * SnapKV: what the last prompt queries look at, pooled over neighbours, once at the prompt's end. Li et al. 2024,
 * arXiv:2404.14469. Generated tokens are all kept.
 * Deviations: one set per KV head (mean of its query group) where the authors' code keeps one per query head; budget 1,024.
 */
export default definePolicy({
  name: 'snapkv',
  params: { budget: tokens(1024), window: tokens(32) },
  observe: { last: 'window' },
  group: 'mean',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
  },
  score: (slot) => slot.mass,
  pool: mean(5),
  window: { last: 'window' },
  keep: topK('budget'),
  when: promptEnd,
});
