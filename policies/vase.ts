import { definePolicy, highest, log, lowest, over, tokens, topK, type Vec } from 'skv';

/** A score above every draw. */
const STAYS = 1e30;
const range = (v: Vec) => highest(v) - lowest(v);

/**
 * VaSE (AttnV): values whose elements spread widest stay, the other places are drawn by attention. Chang et al. 2026,
 * arXiv:2606.03928. Whenever `recent` slots and one more have come: of the slots before the last `recent`, `large` by the
 * range of their values, sinks first, and a sample without replacement whose weights are the attention of the last `recent`
 * queries. The largest of log w plus Gumbel noise are such a sample.
 * Deviations: weights are not smoothed over five neighbours; they are of all slots that a query sees, where the authors'
 * code takes a softmax over the older ones alone; a prompt over the budget is thinned at its end; 4 sinks.
 */
export default definePolicy({
  name: 'vase',
  params: { budget: tokens(2048), recent: tokens(64), large: tokens(1024), sinks: tokens(4) },
  observe: [{ last: 'recent' }, 'decode'],
  group: 'mean',
  accumulate: {
    // a compaction leaves the budget, and the last `recent` queries before the next begin with two slots more
    mass: { init: 0, next: (mass, slot) => (slot.live === slot.params.budget + 2 ? slot.attn : mass + slot.attn) },
  },
  across: {
    widest: {
      nth: 'large',
      of: ({ age, pos, value, params }) => (age < params.recent ? -1 : pos < params.sinks ? STAYS : range(value)),
    },
  },
  score: ({ pos, mass, random, value, params }, across) => {
    if (pos < params.sinks || range(value) >= across.widest) return STAYS;
    return log(mass) - log(-log(random));
  },
  window: { last: 'recent' },
  keep: topK('budget'),
  when: over('recent'),
});
