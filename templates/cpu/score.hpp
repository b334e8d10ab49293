// Scores of the slots of a head, and which of them the window protects.
#pragma once
#include "shared/select.hpp"
#include "slots.hpp"

// The high half of rank_of for the slots of a page.
SKV_INLINE u32x16 ordered_of(f32x16 score) {
  const u32x16 bits = (u32x16)(score + splat(0.0f)), negative = (u32x16)((i32x16)bits >> 31);
  return (u32x16)(score == score) & (bits ^ (negative | 0x80000000u));
}

// Which slots of a page are protected, out [16]. The window is a copy: a byte that is written might be any of the row's.
template <class P, class KV>
SKV_INLINE void protected_slots(const Head<KV>& h, int p, uint8_t* out) {
  const Window window = window_of(*h.row);
  const int32_t *pos = h.lane(p, 0), *classes = h.lane(p, P::class_lane);
  uint8_t yes[SKV_PAGE];
  for (int s = 0; s < SKV_PAGE; s++) yes[s] = is_protected<P>(window, pos[s], classes[s]);
  memcpy(out, yes, SKV_PAGE);
}

// A vector's elements; the rest of a Vec is not worth copying.
SKV_INLINE void set_vec(Vec* to, const Vec& from, int dim) {
  for (int d = 0; d < dim; d++) to->at[d] = from.at[d];
}

// Adds the `slots` of a page to a sum: a tree over the slots, as skv_tree; absent ones are 0.
SKV_INLINE void add_tree(float* total, float* lanes, int slots, int) {
  for (int l = slots; l < SKV_PAGE; l++) lanes[l] = 0.0f;
  *total += skv_tree(lanes);
}
SKV_INLINE void add_tree(Vec* total, Vec* lanes, int slots, int dim) {
  for (int l = slots; l < SKV_PAGE; l++)
    for (int d = 0; d < dim; d++) lanes[l].at[d] = 0.0f;
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; l++)
      for (int d = 0; d < dim; d++) lanes[l].at[d] += lanes[l + width].at[d];
  for (int d = 0; d < dim; d++) total->at[d] += lanes[0].at[d];
}

// across: each statistic over the live slots of a head. Sums run in a tree within a page, then page by page.
template <class P, class KV>
SKV_INLINE void gather_across(const Head<KV>& h, typename P::Across* across) {
  const int live = *h.length;
  const int32_t query = h.row->pos0 + h.row->tokens - 1;
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  P::across_begin(across, h.dim);
  for (int p = 0; p * SKV_PAGE < live; p++) {
    const int slots = live - p * SKV_PAGE < SKV_PAGE ? live - p * SKV_PAGE : SKV_PAGE;
    if (P::across_reads_key) read_keys(h, p, keys);
    if (P::across_reads_value) read_values(h, p, values);
    for (int s = 0; s < slots; s++) {
      float states[P::states + 1];
      for (int i = 0; i < P::states; i++) states[i] = h.state(p, P::first_state, i)[s];
      P::across_slot(across, slot_at<P>(h, p, s, query, live, 0, &keys[s], &values[s]), states, s);
    }
    P::across_page_end(across, slots, h.dim);
  }
  P::across_end(across, live, h.dim);
}

// Scores of a page's slots, out [16]; of all 16, present or not, so that the loop is one vector. keys and values [16]
// are scratch. What a score takes from `across` alone is computed once: nothing written here can be a part of it.
template <class P, class KV>
SKV_INLINE void score_slots(const Head<KV>& h, int p, const typename P::Across& across, Vec* keys, Vec* values,
                            float* out) {
  const int32_t query = h.row->pos0 + h.row->tokens - 1;
  const int live = *h.length;
  if (P::score_reads_key) read_keys(h, p, keys);
  if (P::score_reads_value) read_values(h, p, values);
  float scores[SKV_PAGE];
  for (int s = 0; s < SKV_PAGE; s++) {
    float states[P::states + 1];
    for (int i = 0; i < P::states; i++) states[i] = h.state(p, P::first_state, i)[s];
    scores[s] = P::score(slot_at<P>(h, p, s, query, live, 0, &keys[s], &values[s]), states, across);
  }
  memcpy(out, scores, sizeof scores);
}

template <class P, class KV>
SKV_INLINE void score_page(const Head<KV>& h, int p, const typename P::Across& across, Vec* keys, Vec* values,
                           float* out) {
  call_lanes<P>(h, p + 8);
  if constexpr (P::score_reads_key || P::score_reads_value)
    sized(h, [&](const Head<KV>& h) SKV_FLAT { score_slots<P>(h, p, across, keys, values, out); });
  else
    score_slots<P>(h, p, across, keys, values, out);
}
