import { chunks, definePolicy, promptEnd, tokens } from 'skv';

/**
 * ChunkKV: SnapKV's score decides about chunks of neighbouring tokens, which stay or leave together in all heads of a layer.
 * Liu et al. 2025, arXiv:2502.00299. What belongs together, such as the digits of a number, is kept together.
 * Deviations: chunks of 20 as in kvpress (the paper's are of 10); every layer decides for itself, indices are not reused.
 */
export default definePolicy({
  name: 'chunkkv',
  params: { budget: tokens(1024), window: tokens(32) },
  observe: { last: 'window' },
  group: 'mean',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
  },
  score: (slot) => slot.mass,
  heads: 'shared',
  window: { last: 'window' },
  keep: chunks(20, 'budget'),
  when: promptEnd,
});
