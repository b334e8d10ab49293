// `next`: what observed queries do to the states of a head's slots.
//
// It runs where attention has just ended: the queries' exponentials are still in the cache and their log-sum-exp is
// final, so that nothing is computed twice, and a slot sees its queries in order however a prompt was cut.
#pragma once
#include "dots.hpp"
#include "slots.hpp"

// What attention keeps for it of `rows` query rows, segment by segment:
//   factors [row]: the row's top logit in the segment, and once the log-sum-exp is known what makes attention of the
//   probabilities [page][row][kPagePairs], relative to that top: as they meet the values
template <class KV>
struct Kept {
  uint8_t* at;
  int rows;
  static int64_t factors(int rows) { return (rows + 15) / 16 * 16 * sizeof(float); }
  static int64_t bytes(int rows) {
    return factors(rows) + rows * kSegmentPages * kPagePairs * sizeof(typename KV::Pair);
  }
  float* factor(int seg, int r) const { return (float*)(at + seg * bytes(rows)) + r; }
  typename KV::Pair* row(int page, int r) const {
    auto* pairs = (typename KV::Pair*)(at + page / kSegmentPages * bytes(rows) + factors(rows));
    return pairs + (page % kSegmentPages * rows + r) * kPagePairs;
  }
  // lse [rows]. Rows that see nothing of a segment get anything.
  void settle(int segments, const float* lse) const {
    for (int r = 0; r < rows; r += 16) {
      f32x16 of = splat(0);
      memcpy(&of, lse + r, std::min(rows - r, 16) * sizeof(float));
      for (int seg = 0; seg < segments; seg++) *(f32x16*)factor(seg, r) = exp16(*(f32x16*)factor(seg, r) - of);
    }
  }
};

// Attention of a group's query heads to the slots of a page: their kept probabilities and factors.
template <class P, class KV>
SKV_INLINE f32x16 page_attn(const typename KV::Pair* kept, const float* factor, int group) {
  f32x16 total = KV::of_pairs(kept) * splat(factor[0]);
  for (int g = 1; g < group; g++) {
    const f32x16 p = KV::of_pairs(kept + g * kPagePairs), f = splat(factor[g]);
    total = P::group == Group::max ? larger(p * f, total) : fma(p, f, total);
  }
  return P::group == Group::mean ? total / splat((float)group) : total;
}

// `next` for the slots of page p, once for each of the row's tokens [t0, t1) that sees them. What is kept begins with
// token `first`.
template <class P, class KV>
SKV_INLINE void observe_page(const Head<KV>& h, int p, int t0, int t1, const Kept<KV>& kept, int first) {
  f32x16 now[P::states], next[P::states];
  for (int i = 0; i < P::states; i++) now[i] = *(f32x16*)h.state(p, P::first_state, i);
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  if (P::next_reads_key) read_keys(h, p, keys);
  if (P::next_reads_value) read_values(h, p, values);
  const int before = *h.length - h.row->tokens, g = h.shape->group;
  t0 = std::max(t0, p * SKV_PAGE - before);  // earlier ones see nothing of it
  const float* factor = kept.factor(p / kSegmentPages, (t0 - first) * g);
  const auto* pairs = kept.row(p, (t0 - first) * g);
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
void observe(const Head<KV>& h, int t0, int t1, const Kept<KV>& kept, int first) {
  const int pages = pages_of(*h.length - h.row->tokens + t1);
  for (int p = 0; p < 8; p++) call_lanes<P>(h, p);
  for (int p = 0; p < pages; p++) {
    call_lanes<P>(h, p + 8);
    observe_page<P>(h, p, t0, t1, kept, first);
  }
}
