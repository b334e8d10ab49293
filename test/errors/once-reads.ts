import { definePolicy, every, norm, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  accumulate: { size: { once: (slot: any) => norm(slot.value) * slot.age } },
  score: (slot) => slot.size,
  keep: topK(64),
  when: every(1),
});
