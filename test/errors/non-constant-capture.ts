import { definePolicy, every, tokens, topK } from 'skv';

let rate = 0.5;
rate = rate * 2;

export default definePolicy({
  name: 'mine',
  params: { budget: tokens(64) },
  observe: 'every',
  accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
  score: (slot) => slot.mass * rate,
  keep: topK('budget'),
  when: every(1),
});
