import { definePolicy, dot, norm, over, promptChunk, scale, tokens, topK } from 'skv';

/**
 * KeyDiff: keys that point away from the mean direction stay. Park et al. 2025, arXiv:2504.15364. The prompt is thinned block
 * by block, so its cache never grows past budget + block.
 */
export default definePolicy({
  name: 'keydiff',
  params: { budget: tokens(512), block: tokens(128, { min: 16 }) },
  accumulate: { size: { once: (slot) => norm(slot.key) } },
  across: { anchor: { mean: (slot) => scale(slot.key, 1 / slot.size) } },
  score: (slot, { anchor }) => -(dot(slot.key, anchor) / (slot.size * norm(anchor))), // less its cosine
  keep: topK('budget'),
  when: [promptChunk('block'), over(0)],
});
