// Scores of a head's slots, and which of them the window protects: a page of 16 at a time.
//
//   states [state][slot] (keys, values [slot][dim] when the score reads them) -> score [slot] f32
//   reads 4 + 4 states bytes a slot, and dim b for each vector; with vectors, their arithmetic takes longer than
//   reading
#pragma once
#include "partitions.hpp"
#include "shared/select.hpp"

// Which slots of a page are protected, out [16]: all ones or 0, since words are compared in registers where bytes would
// be put together one by one. The window is a copy: what is written might be any of the row's.
template <class P>
SKV_INLINE void protected_slots(const AnyHead& h, int p, uint32_t* out) {
  const Window window = window_of(*h.row);
  const int32_t *pos = h.lane(p, 0), *classes = h.lane(p, P::class_lane);
  for (int s = 0; s < SKV_PAGE; s++) out[s] = is_protected<P>(window, pos[s], classes[s]) ? ~0u : 0u;
}

// Scores of a page's slots, out [16]; of all 16, present or not, so that the loop is one vector. keys and values are
// scratch. What a score takes from `across` alone is computed once: nothing written here can be a part of it.
template <class P>
SKV_INLINE void score_slots(const AnyHead& h, int p, const typename P::Across& across, PageVecs* keys, PageVecs* values,
                            float* out) {
  float scores[SKV_PAGE];
  visit_slots<P>(h, p, 0, SKV_PAGE, P::score_reads_key, P::score_reads_value, keys, values,
                 [&](int s, const Slot& slot, const float* states)
                     SKV_FLAT { scores[s] = P::score(slot, states, across); });
  memcpy(out, scores, sizeof scores);
}

template <class P>
SKV_INLINE void score_page(const AnyHead& h, int p, const typename P::Across& across, PageVecs* keys, PageVecs* values,
                           float* out) {
  prefetch_lanes(h, p + kLanesAhead, P::lanes);
  score_slots<P>(h, p, across, keys, values, out);
}

// Scores, protected slots and candidates.
template <class P>
SKV_INLINE void score_head(const AnyHead& h, Selection* c) {
  typename P::Across across;
  if constexpr (P::has_across) across = across_of_head<P>(h, c->ordered);
  if constexpr (P::partitioned) score_runs<P>(h, c, across);
  PageVecs keys, values;
  for (int p = 0; p * SKV_PAGE < c->live; p++) {
    const int slot0 = p * SKV_PAGE, slots = std::min(c->live - slot0, SKV_PAGE);
    if constexpr (!P::partitioned) score_page<P>(h, p, across, &keys, &values, c->score + slot0);
    uint32_t stays[SKV_PAGE];
    protected_slots<P>(h, p, stays);
    for (int s = 0; s < SKV_PAGE; s++) c->stays[slot0 + s] = stays[s] & 1;
    for (int s = 0; s < slots; s++) {
      c->candidate[c->candidates] = slot0 + s;
      c->candidates += !c->stays[slot0 + s];
    }
  }
}

template <class P>
SKV_INLINE void pool_scores(Selection* c) {
  for (int i = 0; i < c->candidates; i++)
    c->extra[i] = pooled_score<P>(i, c->candidates, [&](int k) SKV_FLAT { return c->score[c->candidate[k]]; });
  for (int i = 0; i < c->candidates; i++) c->score[c->candidate[i]] = c->extra[i];
}

// A head's part of a selection that is the policy's: PolicyPasses.score.
template <class P>
int score(const AnyHead& h, Selection c) {
  score_head<P>(h, &c);
  if (P::pool != Pool::none) pool_scores<P>(&c);
  return c.candidates;
}
