import { definePolicy, every, number, promptChunk, tokens, topK } from 'skv';

/**
 * A2SF: attention accumulated with a forgetting factor, so that a token which has been seen by many queries has no lead over
 * one that has just come. Jo and Shin 2024, arXiv:2407.20485. No window is kept beside.
 * With `block` (128, say) a prompt is thinned whenever so many tokens of it have been read; by default at its end alone.
 * Deviations: one set per KV head, masses summed over its query group; the factor of 0.9 is ours, the paper tunes it.
 */
export default definePolicy({
  name: 'a2sf',
  params: { budget: tokens(512), forget: number(0.9, { min: 0, max: 1 }), block: tokens(1048576, { min: 16 }) },
  observe: 'every',
  group: 'sum',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass * slot.params.forget + slot.attn },
  },
  score: (slot) => slot.mass,
  keep: topK('budget'),
  when: [promptChunk('block'), every(1)],
});
