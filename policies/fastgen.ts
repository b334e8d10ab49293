import { definePolicy, every, everything, fraction, number, profile, tokens } from 'skv';

/**
 * FastGen ("Adaptive KV Cache Compression"): at the prompt's end each head takes the cheapest of five rules whose slots had
 * the part `recovers` of the prompt's attention, and generates by it. Ge et al. 2023, arXiv:2310.01801. The most attended
 * are those with the highest mean over the queries that saw them.
 * Deviations: one rule per KV head, for its query group together; the first tokens always stay, since not every model begins
 * with a special one; shares of the sequence so far, generated tokens included; a head grows by up to 16 between two
 * compactions.
 */
export default definePolicy({
  name: 'fastgen',
  params: {
    recovers: number(0.95, { min: 0, max: 1 }),
    frequent: fraction(0.3),
    recent: fraction(0.3),
    sinks: tokens(4),
  },
  observe: 'every',
  group: 'sum',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
  },
  score: (slot) => slot.mass / slot.seen,
  window: { first: 'sinks' },
  keep: profile('recovers', 'mass', [
    { classes: ['special'] },
    { classes: ['special', 'punctuation'] },
    { classes: ['special', 'punctuation'], top: 'frequent' },
    { classes: ['special', 'punctuation'], top: 'frequent', last: 'recent' },
    everything,
  ]),
  when: every(16),
});
