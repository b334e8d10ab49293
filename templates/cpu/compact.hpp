// compact: survivors close up in place and the head's length falls; whole pages at the end are the engine's to free.
//
//   items: units of a layer of a row with compact = 1
//   Those that will lie beyond the new length take the places of those that leave; where a policy's slots lie in order,
//   all above the first hole move down, each read before the slot it frees is written. No page is needed.
//   costs the selection (select.hpp), and reads and writes 2 dim b + 4 lanes bytes for each slot that moves
#pragma once
#include "profile.hpp"

// Cache-relative positions: each survivor moves up by the number of newer slots that leave. sorted [leaving] is
// scratch.
SKV_INLINE void shift_survivors(const AnyHead& h, const Selection& c, int hole, int leaving, int shift_lane,
                                int32_t* sorted) {
  for (int s = hole, i = 0; s < c.live; s++)
    if (!c.stays[s]) sorted[i++] = h.lane(s / SKV_PAGE, 0)[s % SKV_PAGE];
  std::sort(sorted, sorted + leaving);
  for (int s = 0; s < c.live; s++) {
    const int32_t pos = h.lane(s / SKV_PAGE, 0)[s % SKV_PAGE];
    h.lane(s / SKV_PAGE, shift_lane)[s % SKV_PAGE] +=
        leaving - int(std::upper_bound(sorted, sorted + leaving, pos) - sorted);
  }
}

// Closes up and sets the length.
SKV_INLINE void move_survivors(const AnyHead& h, const Selection& c, const PolicyPasses& policy) {
  int leaving = 0;
  for (int s = 0; s < c.live; s++) leaving += !c.stays[s];
  if (leaving == 0) return;
  const int hole = int((const uint8_t*)memchr(c.stays, 0, c.live) - c.stays);  // the first
  if (policy.shift_lane) shift_survivors(h, c, hole, leaving, policy.shift_lane, (int32_t*)c.extra);
  const Kernels& kernels = kernels_of(h.shape);
  const int end = c.live - leaving;
  if (policy.ordered)
    kernels.move_down(h, policy.lanes, hole, c.live, c.stays);
  else
    kernels.fill_holes(h, policy.lanes, hole, end, c.stays);
  *h.length = end;
}

// One unit: KV heads [head0, head1) of a layer of a row. All are scored before any is decided.
SKV_INLINE void compact_unit(const skv_step* step, const skv_row* row, int layer, int head0, int head1, Scratch scratch,
                             const PolicyPasses& policy) {
  const int n = head1 - head0, budget = step->budgets[(int64_t)row->seq * step->shape->layers + layer];
  if (budget == SKV_KEEP_ALL) return;
  const int live = *AnyHead(step, row, layer, head0).length;
  if (live <= budget && policy.replaces) return;  // nothing leaves, or attend has done it
  if (live == budget + 1 && policy.replaces) return policy.replace(step, row, layer, head0, head1);
  if (keeps_everything(AnyHead(step, row, layer, head0), policy)) return;
  Selection unit[kMostHeads];
  int64_t candidates = 0;
  for (int i = 0; i < n; i++) {
    const AnyHead h(step, row, layer, head0 + i);
    unit[i] = new_selection(&scratch, *h.length, policy);
    unit[i].candidates = policy.score(h, unit[i]);
    candidates += unit[i].candidates;
  }
  if (policy.heads == Heads::shared) mean_scores(unit, n);
  for (int i = 0; i < n; i++) rank_slots(AnyHead(step, row, layer, head0 + i), &unit[i]);
  int winners[kMostHeads];
  if (policy.heads == Heads::pooled)
    count_winners(unit, n, budget, policy, scratch.take<uint64_t>(candidates), winners);
  for (int i = 0; i < n; i++) {
    const AnyHead h(step, row, layer, head0 + i);
    if (policy.keep == Keep::profile)
      keep_profile(h, &unit[i], policy);
    else
      keep_slots(h, &unit[i], budget, winners[i], policy);
    move_survivors(h, unit[i], policy);
  }
}

SKV_INLINE int32_t compact_units(const skv_step* step, const skv_exec* exec, const PolicyPasses& policy) {
  if (policy.keep == Keep::all) return 0;
  const int heads = step->shape->kv_heads, layers = step->shape->layers;
  const int together = policy.heads == Heads::own ? 1 : heads, units = heads / together;
  parallel_for(exec, step->rows * layers * units, Order::neighbours, [&](int32_t item, int32_t worker) {
    const skv_row* row = step->row + item / (layers * units);
    if (row->policy != step->self || !row->compact) return;
    const int head0 = item % units * together;
    compact_unit(step, row, item / units % layers, head0, head0 + together, Scratch(exec, worker), policy);
  });
  return 0;
}
