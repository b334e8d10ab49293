import { definePolicy, every, promptChunk, tokens, topK } from 'skv';

/**
 * H2O: heavy hitters plus a recent window. Zhang et al. 2023, arXiv:2306.14048.
 * Deviations: one set per KV head (the authors' code is multi-head only), masses summed over its query group; a budget in
 * tokens where the paper uses 20 % of the prompt (--sparse-kv-cache-ratio 0.2 gives that). With `block` (128, say) a prompt
 * is thinned whenever so many tokens of it have been read: its cache is never more than budget + block. By default it is
 * thinned at its end alone, as in the paper.
 */
export default definePolicy({
  name: 'h2o',
  params: { budget: tokens(512), recent: tokens(256), block: tokens(1048576, { min: 16 }) },
  observe: 'every',
  group: 'sum',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
  },
  score: (slot) => slot.mass,
  window: { last: 'recent' },
  keep: topK('budget'),
  when: [promptChunk('block'), every(1)],
});
