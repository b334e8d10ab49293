import { above, definePolicy, every } from 'skv';

export default definePolicy({
  name: 'mine',
  group: 'sum',
  across: { level: { mean: (slot) => slot.pos } },
  score: (slot) => slot.age,
  keep: above(8),
  when: every(16),
});
