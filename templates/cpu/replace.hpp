// replace: exactly one slot leaves, as with `every(1)` at the budget, and the newest takes its hole. compact.hpp, the
// general way, leaves the same slots in the same order.
//
//   item: none of its own. Decode does it where attention has just ended and the head's pages are still in the cache
//   costs the scores (score.hpp) and one move; nothing else of the head is touched
#pragma once
#include "score.hpp"

// Whether it can be done here, where there is no scratch and a unit's heads have one set of statistics.
template <class P>
SKV_BOTH constexpr bool replaces_one() {
  return replaces<P>() && P::ranked == 0 && (!P::has_across || P::heads == Heads::own);
}

// The high half of rank_of for a register of slots.
SKV_INLINE u32xN ordered_of(f32xN score) {
  const u32xN bits = (u32xN)(score + splat<f32xN>(0.0f)), negative = (u32xN)((i32xN)bits >> 31);
  return (u32xN)(score == score) & (bits ^ (negative | 0x80000000u));
}

// The candidate of least rank, found in sixteen lanes: lane l has the least of slots l, 16 + l, …
struct Least {
  u32xN rank[kRegisters], pos[kRegisters], page[kRegisters];  // the high half of the rank, the low half, and where
  Least() {
    for (int n = 0; n < kRegisters; n++) rank[n] = pos[n] = page[n] = ~(u32xN){};
  }

  // The first `slots` of page p; those that stay (all ones) are not candidates. All are arrays of a page's slots.
  SKV_FLAT void take(int p, const float* score, const int32_t* position, const uint32_t* stays, int slots) {
    i32xN lane;
    for (int l = 0; l < kRegister; l++) lane[l] = l;
    for (int n = 0; n < kRegisters; n++) {
      const int at = n * kRegister;
      const u32xN out = *(const u32xN*)(stays + at) | (u32xN)(lane >= slots - at - (i32xN){});
      const u32xN r = ordered_of(*(const f32xN*)(score + at)) | out, older = *(const u32xN*)(position + at) | out;
      const auto lower = (r < rank[n]) | ((r == rank[n]) & (older < pos[n]));
      rank[n] = lower ? r : rank[n];
      pos[n] = lower ? older : pos[n];
      page[n] = lower ? (uint32_t)p - (u32xN){} : page[n];
    }
  }
  // The slot's position and number; none: -1, if all are protected.
  SKV_FLAT int slot(int32_t* position) const {
    const auto *ranks = (const uint32_t*)rank, *at = (const uint32_t*)pos;
    int least = 0;
    for (int s = 1; s < SKV_PAGE; s++)
      if (ranks[s] < ranks[least] || (ranks[s] == ranks[least] && at[s] < at[least])) least = s;
    *position = (int32_t)at[least];
    return (ranks[least] & at[least]) == ~0u ? -1 : (int)((const uint32_t*)page)[least] * SKV_PAGE + least;
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
  typename P::Across across;
  if constexpr (P::has_across) across = across_of_head<P>(first, nullptr);
  PageVecs keys, values;
  Least least;
  for (int p = 0; p * SKV_PAGE < live; p++) {
    alignas(64) float score[SKV_PAGE];
    alignas(64) float other[SKV_PAGE];
    score_page<P>(first, p, across, &keys, &values, score);
    for (int i = head0 + 1; i < head1; i++) {
      score_page<P>(AnyHead(step, row, layer, i), p, across, &keys, &values, other);
      for (int s = 0; s < SKV_PAGE; s++) score[s] += other[s];
    }
    if (head1 > head0 + 1)
      for (int s = 0; s < SKV_PAGE; s++) score[s] /= (float)(head1 - head0);
    alignas(64) uint32_t stays[SKV_PAGE];
    protected_slots<P>(first, p, stays);
    least.take(p, score, first.lane(p, 0), stays, live - p * SKV_PAGE);
  }
  int32_t lost;
  const int hole = least.slot(&lost);
  if (hole < 0) return;
  for (int i = head0; i < head1; i++) {
    const AnyHead h(step, row, layer, i);
    if (P::shift_lane) shift_older<P>(h, live, lost);
    if (hole != live - 1) kernels_of(h.shape).move_slot(h, P::lanes, live - 1, hole);
    *h.length = live - 1;
  }
}
