import { definePolicy, every, tokens, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  observe: 'every',
  accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
  score: (slot) => slot.mass,
  keep: topK(0),
  when: every(1),
});
