import { definePolicy, tokens, topK } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { lag: tokens(128) },
  across: { place: { rank: (slot) => slot.age } },
  partitions: { size: 'lag' },
  score: (slot, across) => across.place,
  keep: topK(64),
});
