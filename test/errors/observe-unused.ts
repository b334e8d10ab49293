import { definePolicy, every, tokens, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { budget: tokens(64) },
  observe: 'every',
  score: (slot) => slot.pos,
  keep: topK('budget'),
  when: every(1),
});
