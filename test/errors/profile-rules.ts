import { definePolicy, every, everything, fraction, number, profile } from 'skv';

export default definePolicy({
  name: 'mine',
  params: { enough: number(0.9, { min: 0, max: 1 }), best: fraction(0.3) },
  observe: 'every',
  accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
  score: (slot) => slot.mass,
  keep: profile('enough', 'mass', [{ classes: ['special'], top: 'best' }, { classes: ['punctuation'] }, everything]),
  when: every(16),
});
