import { definePolicy, every, norm1, tokens, topK } from 'skv';

/**
 * VATP (with H2O): the mass of attention times the size of the value that it weighs. Guo et al. 2024, arXiv:2406.12335. The
 * first 20 tokens stay, since attention sinks have small values.
 * Deviation: one set per KV head, masses summed over its query group, as in h2o.
 */
export default definePolicy({
  name: 'vatp',
  params: { budget: tokens(512), recent: tokens(256), sinks: tokens(20) },
  observe: 'every',
  group: 'sum',
  accumulate: {
    mass: { init: 0, next: (mass, slot) => mass + slot.attn },
    size: { once: (slot) => norm1(slot.value) },
  },
  score: (slot) => slot.mass * slot.size,
  window: { first: 'sinks', last: 'recent' },
  keep: topK('budget'),
  when: every(1),
});
