// Attention of a prompt's tokens: a tile of tokens, segment after segment.
//
//   item: a tile of up to kTileRows query rows (tokens x group) of one KV head
//   Bound by arithmetic: per query row and slot 2 dim multiply-adds in pairs and one exponential; a page is read once a
//   block of kBlockRows rows. Observing adds one multiply-add, and what `next` says a slot and token.
#pragma once
#include <thread>

#include "append.hpp"
#include "observed.hpp"
#include "tile.hpp"

// Tokens of an observed tile when a head has so many segments: what they leave is at most kObservedBytes, or they are
// one token.
template <class KV>
SKV_INLINE int observed_width(const skv_shape* s, int segments) {
  const int64_t token = segments * Probabilities<KV>::bytes(s->group);
  return (int)std::clamp<int64_t>(kObservedBytes<KV> / token, 1, kTileRows / s->group);
}

// A worker's scratch for a tile, of the widest type.
SKV_INLINE int64_t tile_scratch(const skv_shape* s, bool observes) {
  const int64_t token = segments_of(s->max_slots) * Probabilities<F32>::bytes(s->group);
  return Tile<F32>::bytes(s->head_dim) + (observes ? std::max<int64_t>(kObservedBytes<F32>, token) : 0);
}

// Tokens [t0, t1) of a row. A slot sees queries in order: tile after tile of a head waits until `next`, the first token
// that is not observed yet, is its own. `rest` is scratch for probabilities.
template <class KV>
void attend_tile(const Head<KV>& h, int t0, int t1, const Tile<KV>& tile, uint8_t* rest, std::atomic<int32_t>* next,
                 const PolicyPasses& policy) {
  if (h.row->tokens == 1) store(h, *h.length - 1, *h.length, policy);
  const int rows = load_queries(h, t0, t1, tile), g = h.shape->group;
  const int first = std::max(t0, h.row->observe0 - h.row->pos0), last = std::min(t1, h.row->observe1 - h.row->pos0);
  const bool observes = policy.observes && !h.window && first < last;
  const Probabilities<KV> probabilities = {rest, rows}, *observed = observes ? &probabilities : nullptr;
  const int dim = h.row->pos0 + t1 > h.row->read0 ? h.dim : 0;  // of outputs: 0 where nobody reads them
  clear(tile.total, rows, dim);
  const int most = tile.visible[rows - 1], segments = h.segment_of(most - 1) + 1;
  const bool prefetches = rows > kBlockRows<KV>;  // for a single block it would not pay
  for (int seg = h.segment_of(tile.from[0]); seg < segments; seg++) {
    const PageCursor<KV> cursor = {h, h.first_page(seg), (most - 1) / SKV_PAGE};
    const int page1 = h.first_page(seg + 1);
    const auto attend = prefetches ? attend_segment<KV, true> : attend_segment<KV, false>;
    const RowRange sees = attend(h, cursor, page1, rows, tile, tile.segment, dim > 0, observed, policy.shift_lane);
    merge(tile.total, tile.segment, sees, dim);
  }
  float lse[kTileRows];
  for (int r = 0; r < rows; r++) {
    const int t = t0 + r / g;
    normalise(tile.total, r, dim, h.out(t) + r % g * h.dim, &lse[r]);
    h.lse(t)[r % g] = lse[r];
  }
  if (observes) {
    probabilities.normalise(segments, lse);
    while (next->load(std::memory_order_acquire) < first) std::this_thread::yield();
    observe(h, first, last, probabilities, t0, policy);
    next->store(last, std::memory_order_release);
  }
}
