import { above, definePolicy, promptEnd, tokens } from 'skv';

/** Adds up, beside every slot, the attention of the queries for which it lies outside sinks and window; keeps everything. */
export default definePolicy({
  name: 'far',
  params: { sinks: tokens(128), recent: tokens(256) },
  observe: 'every',
  group: 'mean',
  accumulate: {
    far: {
      init: 0,
      next: (far, { pos, age, attn, params }) => (pos >= params.sinks && age >= params.recent ? far + attn : far),
    },
  },
  score: (slot) => slot.far,
  keep: above(-1),
  when: promptEnd,
});
