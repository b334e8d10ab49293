import { definePolicy, over, tokens, topK } from 'skv';

/**
 * StreamingLLM: attention sinks and the most recent tokens. Xiao et al. 2023, arXiv:2309.17453.
 * Positions count as if evicted tokens had never been, so generation goes on past the model's trained context.
 * Deviation: a step attends before it evicts, so it sees one token more than the budget.
 */
export default definePolicy({
  name: 'streaming',
  params: { budget: tokens(1024), sinks: tokens(4) },
  window: { first: 'sinks' },
  keep: topK('budget'),
  when: over(0),
  positions: 'cache',
});
