import { definePolicy, div, floor, over, promptEnd, sqrt, sub, tokens, topK, variance, type Vec } from 'skv';

/** More than any spread. */
const ENDLESS = 1e30;
/** How unevenly the elements of a vector lie between those of the next partition; 0 where one of these does not vary. */
function spread(v: Vec, low: Vec, high: Vec) {
  const deviation = sqrt(variance(div(sub(v, low), sub(high, low))));
  return deviation < ENDLESS ? deviation : 0;
}

/**
 * LagKV: keys and values that stand out from those of the next `lag` tokens stay, as many of each `lag` tokens. Liang et al.
 * 2025, arXiv:2504.04704, as in NVIDIA's kvpress: the standard deviation of a vector whose elements are scaled by the range of
 * the next partition, a softmax over its own, keys and values added, then ranks. The sinks and what no whole partition
 * follows stay.
 * Deviations: one budget is spread over all partitions, where the authors keep a part of each as it fills up; while tokens are
 * generated old partitions give way to new ones, ranked by what is left of them.
 */
export default definePolicy({
  name: 'lagkv',
  params: { budget: tokens(1024), lag: tokens(128, { min: 1 }), sinks: tokens(4) },
  partitions: { first: 'sinks', size: 'lag' },
  across: {
    lowKey: { min: (slot) => slot.key, partition: 'next' },
    highKey: { max: (slot) => slot.key, partition: 'next' },
    lowValue: { min: (slot) => slot.value, partition: 'next' },
    highValue: { max: (slot) => slot.value, partition: 'next' },
    oddKey: { softmax: (slot, across) => spread(slot.key, across.lowKey, across.highKey) },
    oddValue: { softmax: (slot, across) => spread(slot.value, across.lowValue, across.highValue) },
    rank: { rank: (_, across) => across.oddKey + across.oddValue },
  },
  score: ({ pos, length, params: { lag, sinks } }, across) => {
    const followed = sinks + (floor((pos - sinks) / lag) + 2) * lag <= length;
    return followed ? -across.rank : 1;
  },
  window: { first: 'sinks' },
  keep: topK('budget'),
  when: [promptEnd, over('lag')],
});
