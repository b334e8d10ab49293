import { definePolicy, every, tokens, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { budget: tokens(64), history: tokens(400) },
  observe: 'every',
  accumulate: { low: { last: 'history', sum: (slot) => (slot.attn < 1 / slot.live ? 1 : 0) } },
  score: (slot) => -slot.low,
  keep: topK('budget'),
  when: every(1),
});
