import { chunks, definePolicy, every, pooled, tokens } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { budget: tokens(64) },
  observe: 'every',
  accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
  score: (slot) => slot.mass,
  heads: pooled(0.5),
  keep: chunks(16, 'budget'),
  when: every(1),
});
