import { cosine, definePolicy, norm, over, promptChunk, scale, tokens, topK } from 'skv';

/**
 * KeyDiff: keys that point away from the mean direction stay. Park et al. 2025, arXiv:2504.15364. The prompt is thinned block
 * by block, so its cache never grows past budget + block.
 */
export default definePolicy({
  name: 'keydiff',
  params: { budget: tokens(512), block: tokens(128, { min: 16 }) },
  across: { anchor: { mean: (slot) => scale(slot.key, 1 / norm(slot.key)) } },
  score: (slot, across) => -cosine(slot.key, across.anchor),
  keep: topK('budget'),
  when: [promptChunk('block'), over(0)],
});
