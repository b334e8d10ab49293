// append: the new tokens' keys, values and lanes go to the ends of their heads' pages; lengths rise.
//
//   k, v [token][kv_head][dim] f32, rounded to the pages' type
//   items: 64 slots of a head
//   bytes a token and head: reads 8 dim, writes 2 dim b + 4 lanes
#pragma once
#include <algorithm>

#include "exec.hpp"
#include "layout.hpp"

constexpr int kAppendSlots = 4 * SKV_PAGE;  // of an item; two slots' values lie in pairs, so items end with pages

// Stores slots [slot0, slot1) of a head, some of its last row.tokens ones.
template <class P, class KV>
void store(const Head<KV>& h, int slot0, int slot1) {
  for (int slot = slot0; slot < slot1; slot++) {
    const int t = slot - (*h.length - h.row->tokens), p = slot / SKV_PAGE, s = slot % SKV_PAGE;
    const float *k = h.key(t), *v = h.value(t);
    auto *keys = h.keys(p), *values = h.values(p);
    typename KV::Pair pairs[kMaxDim / 2];
    for (int j = 0; j < h.dim / 2; j++) pairs[j] = KV::pair(k[2 * j], k[2 * j + 1]);
    for (int j = 0; j < h.dim / 2; j++) KV::put_key_pair(keys, j, s, pairs[j]);
    for (int d = 0; d < h.dim; d += 16) KV::put_value(values, s, d, h.dim, *(const f32x16u*)(v + d));
    h.lane(p, 0)[s] = h.row->pos0 + t;
    if (P::shift_lane) h.lane(p, P::shift_lane)[s] = 0;
    if (P::class_lane) h.lane(p, P::class_lane)[s] = h.step->classes[h.token(t)];
    for (int i = 0; i < P::states; i++) h.state(p, P::first_state, i)[s] = P::init(i);
  }
}

// Of a row of one token only the length rises: attend stores it when it is about to read its page.
template <class P, class KV>
int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec) {
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
    store<P>(h, std::max(from, before), std::min(from + kAppendSlots, *h.length));
  });
  return 0;
}
