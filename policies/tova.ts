import { definePolicy, over, tokens, topK } from 'skv';

/**
 * TOVA: the newest query's attention, averaged over all heads of a layer, decides one set for the layer.
 * Oren et al. 2024, arXiv:2401.06104. No deviation known: the newest token may leave, as in the paper.
 */
export default definePolicy({
  name: 'tova',
  params: { budget: tokens(512) },
  observe: [{ last: 1 }, 'decode'],
  group: 'mean',
  accumulate: {
    latest: { init: 0, next: (_, slot) => slot.attn },
  },
  score: (slot) => slot.latest,
  heads: 'shared',
  keep: topK('budget'),
  when: over(0),
});
