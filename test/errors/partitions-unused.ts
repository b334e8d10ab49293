import { definePolicy, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  partitions: { size: 64 },
  score: (slot) => slot.age,
  keep: topK(64),
});
