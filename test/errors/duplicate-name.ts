import { definePolicy, every, tokens, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { budget: tokens(64) },
  observe: 'every',
  accumulate: { age: { init: 0, next: (age, slot) => age + slot.attn } },
  score: (slot) => slot.age,
  keep: topK('budget'),
  when: every(1),
});
