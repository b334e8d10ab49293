// append: the new tokens' keys, values and lanes go to the ends of their heads' pages; lengths rise.
//
//   k, v [token][kv_head][dim] f32, rounded to the pages' type
//   items: 64 slots of a head
//   bytes a token and head: reads 8 dim, writes 2 dim b + 4 lanes
#pragma once
#include <algorithm>

#include "exec.hpp"
#include "kernels.hpp"
#include "layout.hpp"

constexpr int kAppendSlots = 4 * SKV_PAGE;  // of an item; two slots' values lie in pairs, so items end with pages

// Stores slots [slot0, slot1) of page p, some of its head's last row.tokens ones.
template <class KV>
SKV_INLINE void store_page(const Head<KV>& h, int p, int slot0, int slot1, const PolicyPasses& policy) {
  auto *keys = h.keys(p), *values = h.values(p);
  const int t0 = p * SKV_PAGE - (*h.length - h.row->tokens);  // the token in slot 0 of the page
  for (int s = slot0; s < slot1; s++) {
    const float *k = h.key(t0 + s), *v = h.value(t0 + s);
    typename KV::Pair pairs[kMaxDim / 2];
    for (int j = 0; j < h.dim / 2; j++) pairs[j] = KV::pair(k[2 * j], k[2 * j + 1]);
    for (int j = 0; j < h.dim / 2; j++) KV::put_key_pair(keys, j, s, pairs[j]);
    for (int d = 0; d < h.dim; d += 16) KV::put_value(values, s, d, h.dim, *(const f32x16u*)(v + d));
  }
  auto fill = [&](int lane, auto value) SKV_FLAT {
    for (int s = slot0; s < slot1; s++) h.lane(p, lane)[s] = value(t0 + s);
  };
  fill(0, [&](int t) SKV_FLAT { return h.row->pos0 + t; });
  if (policy.shift_lane) fill(policy.shift_lane, [](int) SKV_FLAT { return 0; });
  if (policy.class_lane) fill(policy.class_lane, [&](int t) SKV_FLAT { return h.step->classes[h.token(t)]; });
  for (int i = 0; i < policy.states; i++)
    fill(policy.first_state + i, [&](int) SKV_FLAT { return skv_bits(policy.init[i]); });
  if (policy.begin) policy.begin(h, p, slot0, slot1);
}

template <class KV>
void store(const Head<KV>& h, int slot0, int slot1, const PolicyPasses& policy) {
  for (int p = slot0 / SKV_PAGE; p * SKV_PAGE < slot1; p++) {
    const int first = p * SKV_PAGE;
    store_page(h, p, std::max(slot0 - first, 0), std::min(slot1 - first, SKV_PAGE), policy);
  }
}

// Of a row of one token only the length rises: attend stores it when it is about to read its page.
template <class KV>
int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec, const PolicyPasses& policy) {
  const int heads = step->shape->kv_heads;
  int most = 0;
  for (int r = 0; r < step->rows; r++) {
    const skv_row* row = step->row + r;
    if (row->policy != step->self) continue;
    most = std::max(most, row->tokens);
    for (int h = 0; h < heads; h++) *Head<KV>(step, row, layer, h).length += row->tokens;
  }
  if (most <= 1) return 0;
  const int pieces = most / kAppendSlots + 2;
  parallel_for(exec, step->rows * heads * pieces, Order::neighbours, [&](int32_t item, int32_t) {
    const skv_row* row = step->row + item / (heads * pieces);
    if (row->policy != step->self || row->tokens <= 1) return;
    const Head<KV> h(step, row, layer, item / pieces % heads);
    const int before = *h.length - row->tokens;
    const int from = before / kAppendSlots * kAppendSlots + item % pieces * kAppendSlots;
    store(h, std::max(from, before), std::min(from + kAppendSlots, *h.length), policy);
  });
  return 0;
}
