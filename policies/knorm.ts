import { definePolicy, norm, over, tokens, topK } from 'skv';

/**
 * Keys of small norm matter most. Devoto et al. 2024, arXiv:2406.11430.
 * Deviation: every layer is thinned; the authors' code leaves the first two alone.
 */
export default definePolicy({
  name: 'knorm',
  params: { budget: tokens(512) },
  accumulate: { size: { once: (slot) => norm(slot.key) } },
  score: (slot) => -slot.size,
  keep: topK('budget'),
  when: over(0),
});
