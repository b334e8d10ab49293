// Survivors close up in place, keys, values and lanes together, by one block of 256 threads.
//
//   a head's pages and flags -> its pages, lengths [seq][layer][kv_head]
//   bytes: 4 d b + 8 a lane for each slot that moves (d dims, b bytes of an element). Bound by memory.
//
// Those beyond the new length take the places of those that leave; where slots lie in order, all above the first hole
// move down. In ascending order a batch of slots is read into registers, then, after a barrier, written to where it
// goes, which is below where it came from. Later batches read slots above everything written so far: one barrier
// a batch is enough, and no page is needed.
#pragma once
#include "select.cuh"

constexpr int kMoveQuads = 8;  // a thread's, of a batch

template <class P, class KV, int D>
struct Mover {
  using L = Layout<KV, D>;
  static constexpr int quads = 2 * L::quads;  // of a slot
  static constexpr int batch = smaller(64, kMoveQuads* kBlockThreads / quads);
  static constexpr int words = ceil_div(batch * P::lanes, kBlockThreads);  // of lanes, a thread's

  // Moves `count` <= batch survivors: source(j) to dest(j).
  template <class Source, class Dest>
  static __device__ __forceinline__ void move(const Head<KV, D>& h, int count, Source source, Dest dest) {
    Quad quad[kMoveQuads];
    uint32_t word[words];
    // where the i-th thread's k-th piece lies
    auto quad_at = [&](int i, int slot) {
      return i / L::quads % 2 * L::half + slot % SKV_PAGE * L::row + i % L::quads * 4;
    };
    auto lane_at = [&](int i, int slot) { return h.lanes + i * SKV_PAGE + slot % SKV_PAGE; };
    SKV_UNROLL for (int k = 0; k < kMoveQuads; k++) {
      const int i = k * kBlockThreads + threadIdx.x, j = i / quads;
      if (j >= count) continue;
      const int from = source(j);
      quad[k] = load_quad(h.page(from / SKV_PAGE), quad_at(i, from));
    }
    SKV_UNROLL for (int k = 0; k < words; k++) {
      const int i = k * kBlockThreads + threadIdx.x, j = i / P::lanes;
      if (j >= count) continue;
      const int from = source(j);
      word[k] = h.page(from / SKV_PAGE)[lane_at(i % P::lanes, from)];
    }
    __syncthreads();
    SKV_UNROLL for (int k = 0; k < kMoveQuads; k++) {
      const int i = k * kBlockThreads + threadIdx.x, j = i / quads;
      if (j >= count) continue;
      const int to = dest(j);
      store_quad(h.page(to / SKV_PAGE), quad_at(i, to), quad[k]);
    }
    SKV_UNROLL for (int k = 0; k < words; k++) {
      const int i = k * kBlockThreads + threadIdx.x, j = i / P::lanes;
      if (j >= count) continue;
      const int to = dest(j);
      h.page(to / SKV_PAGE)[lane_at(i % P::lanes, to)] = word[k];
    }
  }
};

// Each survivor's shift rises by the number of newer slots that leave. Quadratic in (stays x leaves), for policies of cache
// positions alone, and only when many leave at once.
template <class P, class KV, int D>
SKV_INLINE void shift_survivors(const Head<KV, D>& h, const Selection<P>& c, const BlockMemory& m) {
  int leaving = 0;
  for (int base = 0; base < c.live; base += kBlockThreads) {
    const int slot = base + threadIdx.x;
    const bool leaves = slot < c.live && !c.stays(slot);
    int total;
    const int at = leaving + block_scan(m, leaves, &total);
    if (leaves) c.list[at] = lane_of(h, 0, slot);
    leaving += total;
  }
  __syncthreads();
  for (int slot = threadIdx.x; slot < c.live; slot += kBlockThreads) {
    if (!c.stays(slot)) continue;
    const int32_t pos = lane_of(h, 0, slot);
    int newer = 0;
    for (int i = 0; i < leaving; i++) newer += (int32_t)c.list[i] > pos;
    const Global<uint32_t> page = h.page(slot / SKV_PAGE);
    page[h.lanes + P::shift_lane * SKV_PAGE + slot % SKV_PAGE] += (uint32_t)newer;
  }
  __syncthreads();
}

// Moves the survivors from slot `first` on, in order: the j-th of them to dest(j).
template <class P, class KV, int D, class Dest>
SKV_INLINE void move_from(const Head<KV, D>& h, const Selection<P>& c, const BlockMemory& m, int first, Dest dest) {
  using Move = Mover<P, KV, D>;
  int moved = 0;
  for (int base = first; base < c.live; base += kBlockThreads) {
    const int slot = base + threadIdx.x;
    const bool stays = slot < c.live && c.stays(slot);
    int total;
    const int at = block_scan(m, stays, &total);
    if (stays) m.from[at] = slot;
    __syncthreads();
    for (int j0 = 0; j0 < total; j0 += Move::batch)
      Move::move(
          h, smaller(Move::batch, total - j0), [&](int j) -> int { return m.from[j0 + j]; },
          [&](int j) -> int { return dest(moved + j0 + j); });
    moved += total;
    __syncthreads();  // before the list is written again
  }
}

// Lists the slots below `end` that leave.
template <class P>
SKV_INLINE void list_holes(const Selection<P>& c, const BlockMemory& m, int end) {
  int before = 0;
  for (int base = 0; base < end; base += kBlockThreads) {
    const int slot = base + threadIdx.x;
    const bool leaves = slot < end && !c.stays(slot);
    int total;
    const int at = before + block_scan(m, leaves, &total);
    if (leaves) c.holes[at] = slot;
    before += total;
  }
  __syncthreads();
}

// Closes up and sets the head's length.
template <class P, class KV, int D>
SKV_INLINE void move_survivors(const Head<KV, D>& h, const Selection<P>& c, const BlockMemory& m) {
  int staying = 0, hole = c.live;  // the first slot that leaves
  for (int slot = threadIdx.x; slot < c.live; slot += kBlockThreads) {
    const bool stays = c.stays(slot);
    staying += stays;
    if (!stays && slot < hole) hole = slot;
  }
  const int end = block_sum(m, staying);
  if (end == c.live) return;
  if (P::shift_lane) shift_survivors(h, c, m);
  if (P::ordered) {
    hole = (int)block_least(m, (uint64_t)hole);
    move_from(h, c, m, hole, [&](int j) -> int { return hole + j; });
  } else {
    list_holes(c, m, end);
    move_from(h, c, m, end, [&](int j) -> int { return c.holes[j]; });
  }
  if (threadIdx.x == 0) global(h.s.lengths)[h.index] = end;
}
