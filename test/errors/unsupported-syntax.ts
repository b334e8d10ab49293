import { definePolicy, every, tokens, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { budget: tokens(64) },
  observe: 'every',
  accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
  score: (slot) => slot.mass ** 2,
  keep: topK('budget'),
  when: every(1),
});
