// Replace in place: exactly one slot leaves and the newest takes its hole, as `every(1)` does at its budget. One pass
// over the scores and one move; nothing else of the head is touched. Chosen when a policy's slots need no order; the
// general way (select.hpp) leaves the same slots. Decode does it where attention has just ended and the head's pages
// are still in the cache.
#pragma once

#include "score.hpp"

template <class P, class KV>
SKV_INLINE void move_slot(const Head<KV>& h, int from, int to) {
  const int pf = from / SKV_PAGE, sf = from % SKV_PAGE, pt = to / SKV_PAGE, st = to % SKV_PAGE;
  auto *key = h.keys(pt), *value = h.values(pt), *old_key = h.keys(pf), *old_value = h.values(pf);
  for (int d = 0; d < h.dim; d++) *KV::key_at(key, d, st) = *KV::key_at(old_key, d, sf);
  for (int d = 0; d < h.dim; d++) *KV::value_at(value, d, st, h.dim) = *KV::value_at(old_value, d, sf, h.dim);
  for (int i = 0; i < P::lanes; i++) h.lane(pt, i)[st] = h.lane(pf, i)[sf];
}

// The lowest-ranked candidate of KV heads [head0, head1), which decide together, leaves; if there is one, and if they
// have one slot more than their budget.
template <class P, class KV>
void replace(const skv_step* step, const skv_row* row, int layer, int head0, int head1) {
  const Head<KV> first(step, row, layer, head0);
  const int live = *first.length;
  if (live != step->budgets[(int64_t)row->seq * step->shape->layers + layer] + 1) return;
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  u32x16 least = ~(u32x16){}, least_pos = least, page = least;  // by lane: the lowest rank, and where
  for (int p = 0; p * SKV_PAGE < live; p++) {
    f32x16 score, other;
    score_page<P>(first, p, {}, keys, values, (float*)&score);
    for (int i = head0 + 1; i < head1; i++) {
      score_page<P>(Head<KV>(step, row, layer, i), p, {}, keys, values, (float*)&other);
      score += other;
    }
    if (head1 > head0 + 1) score /= splat((float)(head1 - head0));
    uint8_t stays[SKV_PAGE];
    protected_slots<P>(first, p, stays);
    u32x16 out;
    for (int s = 0; s < SKV_PAGE; s++) out[s] = stays[s] || p * SKV_PAGE + s >= live ? ~0u : 0;
    const u32x16 pos = *(u32x16*)first.lane(p, 0) | out, rank = ordered_of(score) | out;
    const u32x16 lower = (u32x16)((rank < least) | ((rank == least) & (pos < least_pos)));
    least = lower ? rank : least, least_pos = lower ? pos : least_pos;
    page = lower ? (uint32_t)p - (u32x16){} : page;
  }
  int lane = 0;
  for (int s = 1; s < SKV_PAGE; s++)
    if (least[s] < least[lane] || (least[s] == least[lane] && least_pos[s] < least_pos[lane])) lane = s;
  if ((least[lane] & least_pos[lane]) == ~0u) return;
  const int32_t gone = (int32_t)least_pos[lane];
  const int hole = (int)page[lane] * SKV_PAGE + lane;
  for (int i = head0; i < head1; i++) {
    const Head<KV> h(step, row, layer, i);
    for (int p = 0; P::shift_lane && p * SKV_PAGE < live; p++) {
      const int32_t* pos = h.lane(p, 0);
      int32_t any = 0;
      for (int s = 0; s < SKV_PAGE; s++) any |= pos[s] < gone;
      for (int s = 0; any && s < SKV_PAGE; s++) h.lane(p, P::shift_lane)[s] += pos[s] < gone;
    }
    if (hole != live - 1) move_slot<P>(h, live - 1, hole);
    *h.length = live - 1;
  }
}
