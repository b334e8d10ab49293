import { definePolicy, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  across: { place: { rank: (slot) => slot.age } },
  score: (slot, across) => across.place,
  keep: topK(64),
});
