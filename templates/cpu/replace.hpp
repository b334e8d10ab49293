// replace: exactly one slot leaves and the newest takes its hole, as `every(1)` does at its budget. Chosen when a
// policy's slots need no order; compact.hpp, the general way, leaves the same slots.
//
//   item: none of its own. Decode does it where attention has just ended and the head's pages are still in the cache
//   costs the scores (score.hpp) and one move; nothing else of the head is touched
#pragma once
#include "score.hpp"

// The candidate of least rank, found in sixteen lanes: lane l has the least of slots l, 16 + l, …
struct Least {
  u32x16 rank, pos, page;  // of each lane: the high half of the rank, the low half, and where
  Least() : rank(~(u32x16){}), pos(rank), page(rank) {}

  // Slots of page p; `out` is all ones for those that are not candidates.
  SKV_FLAT void take(int p, f32x16 score, u32x16 position, u32x16 out) {
    const u32x16 r = ordered_of(score) | out, at = position | out;
    const u32x16 lower = (u32x16)((r < rank) | ((r == rank) & (at < pos)));
    rank = lower ? r : rank;
    pos = lower ? at : pos;
    page = lower ? (uint32_t)p - (u32x16){} : page;
  }
  SKV_FLAT int lane() const {
    int least = 0;
    for (int s = 1; s < SKV_PAGE; s++)
      if (rank[s] < rank[least] || (rank[s] == rank[least] && pos[s] < pos[least])) least = s;
    return least;
  }
};

// Older survivors move up by one in cache-relative positions when the slot of position `lost` leaves.
template <class P>
SKV_INLINE void shift_older(const AnyHead& h, int live, int32_t lost) {
  for (int p = 0; p * SKV_PAGE < live; p++) {
    const int32_t* pos = h.lane(p, 0);
    int32_t any = 0;
    for (int s = 0; s < SKV_PAGE; s++) any |= pos[s] < lost;
    for (int s = 0; any && s < SKV_PAGE; s++) h.lane(p, P::shift_lane)[s] += pos[s] < lost;
  }
}

// The lowest-ranked candidate of KV heads [head0, head1), which decide together, leaves; if there is one, and if they
// have one slot more than their budget.
template <class P>
void replace(const skv_step* step, const skv_row* row, int layer, int head0, int head1) {
  const AnyHead first(step, row, layer, head0);
  const int live = *first.length;
  if (!one_over(first)) return;
  PageVecs keys, values;
  Least least;
  for (int p = 0; p * SKV_PAGE < live; p++) {
    f32x16 score, other;
    score_page<P>(first, p, {}, &keys, &values, (float*)&score);
    for (int i = head0 + 1; i < head1; i++) {
      score_page<P>(AnyHead(step, row, layer, i), p, {}, &keys, &values, (float*)&other);
      score += other;
    }
    if (head1 > head0 + 1) score /= splat((float)(head1 - head0));
    u8x16 stays;
    protected_slots<P>(first, p, (uint8_t*)&stays);
    const u32x16 absent = ~(u32x16)first_lanes(live - p * SKV_PAGE);
    const u32x16 out = (u32x16)(__builtin_convertvector(stays, u32x16) != 0) | absent;
    least.take(p, score, *(u32x16*)first.lane(p, 0), out);
  }
  const int lane = least.lane();
  if ((least.rank[lane] & least.pos[lane]) == ~0u) return;  // all are protected
  const int hole = (int)least.page[lane] * SKV_PAGE + lane;
  for (int i = head0; i < head1; i++) {
    const AnyHead h(step, row, layer, i);
    if (P::shift_lane) shift_older<P>(h, live, (int32_t)least.pos[lane]);
    if (hole != live - 1) kernels_of(h.shape).move_slot(h, P::lanes, live - 1, hole);
    *h.length = live - 1;
  }
}
