import { definePolicy, topK } from 'skv';

const gates = [
  [0.5, 1],
  [0.25, 0],
];

export default definePolicy({
  name: 'mine',
  score: (slot) => gates[slot.head][slot.layer],
  keep: topK(64),
});
