// across: statistics over the live slots of a head, a page at a time.
//
//   states [state][slot], keys and values [slot][dim] -> one number or vector [dim] a statistic
//   Sums run in a tree over a page's slots, then page by page: the language's order, hence its bits.
//   Bound by reading what the statistics read: 4 states a slot, and dim b for each vector (b of an element)
#pragma once
#include "slot.hpp"

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
