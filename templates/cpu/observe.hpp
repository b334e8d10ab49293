// observe: `next`, what observed queries do to the states of a head's slots.
//
//   probabilities of query rows [token][group], as attention left them    states [state][slot]
//   It runs where attention has just ended: the queries' exponentials are still in the cache and their LSE is final, so
//   nothing is computed twice, and a slot sees its queries in order however a prompt was cut.
//   costs per observed token and slot one multiply-add a query head and what `next` says; states are read and written
//   once a tile of tokens
#pragma once
#include "scratch.hpp"
#include "shared/traits.hpp"
#include "slot.hpp"

// Attention of a token's query group to the slots of a page. pairs [group][8], factor [group].
template <class P, class KV>
SKV_INLINE f32x16 page_attn(const typename KV::Pair* pairs, const float* factor, int group) {
  f32x16 total = KV::unpack(pairs) * splat(factor[0]);
  for (int g = 1; g < group; g++) {
    const f32x16 p = KV::unpack(pairs + g * kPagePairs), f = splat(factor[g]);
    total = P::group == Group::max ? larger(p * f, total) : fma(p, f, total);
  }
  return P::group == Group::mean ? total / splat((float)group) : total;
}

// `next` for the slots of page p, once for each of the row's tokens [t0, t1) that sees them. Row 0 of the probabilities
// is of token `first`.
template <class P, class KV>
SKV_INLINE void observe_page(const Head<KV>& h, int p, int t0, int t1, const Probabilities<KV>& probabilities,
                             int first) {
  f32x16 now[P::states], next[P::states];
  for (int i = 0; i < P::states; i++) now[i] = *(f32x16*)h.state(p, P::first_state, i);
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  if (P::next_reads_key) read_keys(h, p, keys);
  if (P::next_reads_value) read_values(h, p, values);
  const int before = *h.length - h.row->tokens, g = h.shape->group;
  t0 = std::max(t0, p * SKV_PAGE - before);  // earlier ones see nothing of it
  const float* factor = probabilities.factor(p / kSegmentPages, (t0 - first) * g);
  const auto* pairs = probabilities.pairs(p, (t0 - first) * g);
  for (int t = t0; t < t1; t++, factor += g, pairs += g * kPagePairs) {
    const int live = before + t + 1, visible = live - p * SKV_PAGE;
    const f32x16 attn = page_attn<P, KV>(pairs, factor, g);
#pragma GCC unroll 1  // or it is unrolled before it can be vectorised
    for (int s = 0; s < SKV_PAGE; s++) {
      const Slot slot = slot_at<P>(h, p, s, h.row->pos0 + t, live, ((float*)&attn)[s], &keys[s], &values[s]);
      float states[P::states], after[P::states];
      for (int i = 0; i < P::states; i++) states[i] = ((float*)&now[i])[s];
      P::next(slot, states, after);
      for (int i = 0; i < P::states; i++) ((float*)&next[i])[s] = after[i];
    }
    for (int i = 0; i < P::states; i++) now[i] = first_of(visible, next[i], now[i]);
  }
  for (int i = 0; i < P::states; i++) *(f32x16*)h.state(p, P::first_state, i) = now[i];
}

// All slots of a head.
template <class P, class KV>
void observe(const Head<KV>& h, int t0, int t1, const Probabilities<KV>& probabilities, int first) {
  const int pages = pages_of(*h.length - h.row->tokens + t1);
  for (int p = 0; p < kLanesAhead; p++) prefetch_lanes<P>(h, p);
  for (int p = 0; p < pages; p++) {
    prefetch_lanes<P>(h, p + kLanesAhead);
    observe_page<P>(h, p, t0, t1, probabilities, first);
  }
}
