// Attention of one token of a sequence: its slots are split over threads, a run of segments each.
//
//   item: a split, segments [segment0, segment1) of one KV head, for its query group
//   Bound by memory: keys and values are read once, 4 dim bytes a slot in bf16. The threads end together when splits
//   are short, and prefetching pays when they are long: Schedule chooses.
//
// Whoever ends a head's last segment merges them all, in order, observes, and replaces a slot where one is to
// leave: the head's pages are still in the cache.
#pragma once
#include "append.hpp"
#include "observed.hpp"
#include "tile.hpp"

// No segments when heads differ in length and this one is short.
template <class KV>
struct Split {
  Head<KV> h;
  int place, segment0, segment1;  // place: which of the step's split rows
  // The page behind a segment's last.
  int page1(int seg) const { return seg + 1 < h.segments() ? h.first_page(seg + 1) : pages_of(*h.length); }
  PageCursor<KV> cursor(int seg, const PageCursor<KV>* next = nullptr) const {
    return {h, h.first_page(seg), page1(segment1 - 1) - 1, next};
  }
};

// What a worker reads before it can prefetch.
template <class KV>
SKV_INLINE void prefetch_first(const Split<KV>& split) {
  const PageCursor<KV> start = split.cursor(split.segment0);
  for (int j = 0; j < PageCursor<KV>::kDistance; j++)
    for (int b = 0; b < split.h.layout().values - split.h.layout().keys; b += 64) prefetch(start.half(j) + b);
}

// Whether a slot of the head is replaced where its token ends, if one is to leave.
SKV_INLINE bool may_replace(const AnyHead& h, const PolicyPasses& policy) {
  return policy.replaces && h.row->compact && !h.window;
}

// Merges a head's segments, observes, replaces. probabilities: what the splits left, if the token is observed.
template <class KV>
SKV_INLINE void end_head(const Split<KV>& split, const StepScratch& scratch, const Tile<KV>& tile,
                         const Probabilities<KV>* probabilities, const PolicyPasses& policy) {
  const Head<KV>& h = split.h;
  const int g = h.shape->group, segments = h.segments(), r = int(h.row - h.step->row);
  clear(tile.total, g, h.dim);
  for (int seg = 0; seg < segments; seg++) merge(tile.total, scratch.partials(split.place, h.head, seg), {0, g}, h.dim);
  for (int i = 0; i < g; i++) normalise(tile.total, i, h.dim, h.out(0) + i * h.dim, h.lse(0) + i);
  if (probabilities) {
    probabilities->normalise(segments, h.lse(0));
    observe(h, 0, 1, *probabilities, 0, policy);
  }
  if (!may_replace(h, policy)) return;
  const bool alone = policy.heads == Heads::own;
  if (!alone && scratch.heads_remaining[r].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  policy.replace(h.step, h.row, h.layer, alone ? h.head : 0, alone ? h.head + 1 : int(scratch.heads));
}

// next: where this worker is likely to go afterwards.
template <class KV>
void attend_split(const Split<KV>& split, const PageCursor<KV>* next, const StepScratch& scratch, const Tile<KV>& tile,
                  const PolicyPasses& policy) {
  const Head<KV>& h = split.h;
  const int g = h.shape->group, segments = h.segments(), r = int(h.row - h.step->row);
  prefetch_first(split);
  load_queries(h, 0, 1, tile);
  const bool observes = policy.observes && !h.window && h.row->observe1 > h.row->observe0;
  const Probabilities<KV> probabilities = scratch.probabilities<KV>(split.place, h.head);
  const Probabilities<KV>* observed = observes ? &probabilities : nullptr;
  const bool reads_lanes = may_replace(h, policy);  // of all pages, at the end
  for (int seg = split.segment0; seg < split.segment1; seg++) {
    for (int p = h.first_page(seg); reads_lanes && p < split.page1(seg); p++) prefetch_lanes(h, p, policy.lanes);
    if (seg == segments - 1) store(h, *h.length - 1, *h.length, policy);
    const Partials partials = scratch.partials(split.place, h.head, seg);
    attend_segment<KV, true>(h, split.cursor(seg, next), split.page1(seg), g, tile, partials, true, observed,
                             policy.shift_lane);
  }
  const int done = split.segment1 - split.segment0;
  if (scratch.remaining[r * scratch.heads + h.head].fetch_sub(done, std::memory_order_acq_rel) == done)
    end_head(split, scratch, tile, observed, policy);
}
