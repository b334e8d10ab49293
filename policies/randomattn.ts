import { definePolicy, over, tokens, topK } from 'skv';

/**
 * Random Attention: the prompt stays, and of what is generated a random part in each head. Wang et al. 2026, arXiv:2609.03430.
 * A draw is the request's seed's, anew at each compaction, so that recent tokens are likelier to be there than old ones.
 * Deviation: it compacts every `every` + 1 tokens; the abstract, which this is written from, does not say how often.
 */
export default definePolicy({
  name: 'randomattn',
  params: { budget: tokens(1024), every: tokens(63) },
  score: (slot) => slot.random,
  window: { prompt: true },
  keep: topK('budget', { besides: 'protected' }),
  when: over('every'),
});
