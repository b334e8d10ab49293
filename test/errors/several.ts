import { definePolicy, every, mean, tokens, topK } from 'skv';

export default definePolicy({
  name: 'Several Mistakes',
  params: { budget: tokens(64), unused: tokens(1.5) },
  observe: 'every',
  accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn }, idle: { init: 0, next: (idle) => idle + 1 } },
  score: (slot) => slot.mass,
  pool: mean(2),
  window: { last: 100 },
  keep: topK('budget'),
  when: every(0),
});
