import { definePolicy, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  across: {
    place: { rank: (slot, across) => slot.pos + across.part },
    part: { softmax: (slot) => slot.age },
  },
  partitions: { size: 64 },
  score: (slot, across) => across.place,
  keep: topK(64),
});
