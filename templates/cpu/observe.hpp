// `next`: what observed queries do to the states of a head's slots.
//
// It runs where attention has just ended: the queries' exponentials are still in the cache and their log-sum-exp is
// final, so that nothing is computed twice, and a slot sees its queries in order however a prompt was cut.
#pragma once
#include "dots.hpp"
#include "slots.hpp"

// What attention keeps for it of `rows` query rows, segment by segment:
//   exponentials [page][row][SKV_PAGE], relative to the row's top logit in the segment
//   factors [row]: that top, and once the log-sum-exp is known what makes them probabilities
struct Kept {
  float* at;
  int rows;
  static int64_t floats(int rows) { return rows * SKV_SEGMENT + (rows + SKV_PAGE - 1) / SKV_PAGE * SKV_PAGE; }
  float* segment(int seg) const { return at + seg * floats(rows); }
  float* row(int page, int r) const {
    return segment(page / kSegmentPages) + (page % kSegmentPages * rows + r) * SKV_PAGE;
  }
  float* factor(int seg, int r) const { return segment(seg) + rows * SKV_SEGMENT + r; }
  void settle(int seg, int r, float lse) const { *factor(seg, r) = skv_exp(*factor(seg, r) - lse); }
};

// One query's probabilities for the slots of a page, reduced over its group's heads in order.
template <class P>
SKV_INLINE f32x16 page_attn(const float* exps, const float* factor, int group) {
  f32x16 total = *(const f32x16*)exps * splat(factor[0]);
  for (int g = 1; g < group; g++) {
    const f32x16 p = *(const f32x16*)(exps + g * SKV_PAGE) * splat(factor[g]);
    total = P::group == Group::max ? larger(p, total) : total + p;
  }
  return P::group == Group::mean ? total / splat((float)group) : total;
}

// `next` for the slots of page p, once for each of the row's tokens [t0, t1) that sees them; t0 is row `first` of kept.
template <class P, class KV>
SKV_INLINE void observe_page(const Head<KV>& h, int p, int t0, int t1, const Kept& kept, int first) {
  f32x16 now[P::states], next[P::states];
  for (int i = 0; i < P::states; i++) now[i] = *(f32x16*)h.state(p, P::first_state, i);
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  if (P::next_reads_key) read_keys(h, p, keys);
  if (P::next_reads_value) read_values(h, p, values);
  const int before = *h.length - h.row->tokens, g = h.shape->group;
  for (int t = t0; t < t1; t++) {
    const int live = before + t + 1, visible = live - p * SKV_PAGE;
    if (visible <= 0) continue;
    const int r = first + (t - t0) * g;
    const f32x16 attn = page_attn<P>(kept.row(p, r), kept.factor(p / kSegmentPages, r), g);
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
void observe(const Head<KV>& h, int t0, int t1, const Kept& kept, int first) {
  const int pages = pages_of(*h.length - h.row->tokens + t1);
  for (int p = 0; p < 8; p++) call_lanes<P>(h, p);
  for (int p = 0; p < pages; p++) {
    call_lanes<P>(h, p + 8);
    observe_page<P>(h, p, t0, t1, kept, first);
  }
}
