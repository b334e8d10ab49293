import { definePolicy, topK } from 'skv';

const gates = [[0.5, 1], [0.25]];

export default definePolicy({
  name: 'mine',
  score: (slot) => gates[slot.layer][slot.head],
  keep: topK(64),
});
