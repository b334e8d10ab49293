// replace: where one slot must leave and order does not matter (every token, at budget), the slot of least rank gives
// its place to the newest, and nothing else moves. Scores stay in registers, no scratch is needed. Runs before compact,
// which then finds nothing to do here.
//
//   grid (layers * units, rows), 128 threads; a unit is a KV head, or all heads of a layer where they decide together
//   a unit's lanes (keys, values where the score reads them), budgets [seq][layer] -> one slot's page, lengths
//   bytes: 4 + 4 a state per slot, d b for each vector the score reads. Bound by the latency of one pass over the
//   lanes.
#pragma once
#include "score.cuh"

// Whether it can be done here, where there is no room for statistics.
template <class P>
SKV_BOTH constexpr bool replaces_one() {
  return replaces<P>() && !P::has_across;
}

constexpr int kReplaceThreads = 128, kReplaceWarps = kReplaceThreads / 32;

// lost: the hole's position.
template <class P, class KV, int D>
SKV_INLINE void replace_slot(const Head<KV, D>& h, int hole, int32_t lost) {
  using L = Layout<KV, D>;
  const int last = h.live - 1;
  if (P::shift_lane) {  // slots older than the lost position move down by one
    for (int slot = threadIdx.x; slot < h.live; slot += kReplaceThreads)
      if (slot != hole && lane_of(h, 0, slot) < lost)
        h.page(slot / SKV_PAGE)[h.lanes + P::shift_lane * SKV_PAGE + slot % SKV_PAGE] += 1u;
    __syncthreads();
  }
  if (hole == last) return;
  const Global<uint32_t> from = h.page(last / SKV_PAGE), to = h.page(hole / SKV_PAGE);
  for (int i = threadIdx.x; i < 2 * L::quads; i += kReplaceThreads) {
    const int at = i / L::quads * L::half + i % L::quads * 4;
    store_quad(to, at + hole % SKV_PAGE * L::row, load_quad(from, at + last % SKV_PAGE * L::row));
  }
  for (int i = threadIdx.x; i < P::lanes; i += kReplaceThreads) {
    const int at = h.lanes + i * SKV_PAGE;
    to[at + hole % SKV_PAGE] = (uint32_t)from[at + last % SKV_PAGE];
  }
}

// Where a score reads many states, ptxas is told to mind one block, or it aims at 32 registers and spills.
template <class P, class KV, int D>
__global__ void __launch_bounds__(kReplaceThreads, P::states > 4 ? 1 : 0) replace_kernel(Step s) {
  constexpr int lanes = P::score_reads_key || P::score_reads_value ? kVecLanes : 1;
  const skv_row row = load_row(s, blockIdx.y);
  if (row.policy != s.self || !row.compact) return;
  const int n = P::heads == Heads::own ? 1 : s.kv_heads, units = s.kv_heads / n;
  const int layer = blockIdx.x / units, head0 = blockIdx.x % units * n;
  const int budget = global(s.budgets)[(int64_t)row.seq * s.layers + layer];
  const Head<KV, D> first(s, row, layer, head0);
  if (first.live != budget + 1) return;

  Arena arena;
  const Shared<uint64_t> ranks = arena.take<uint64_t>(kReplaceWarps, "ranks");
  const Shared<int> found = arena.take<int>(1, "found");
  const Params params(s.params + (int64_t)row.seq * SKV_MAX_PARAMS);
  const typename P::Across across = {};
  uint64_t least = ~(uint64_t)0;
  int hole = -1;
  for (int slot = threadIdx.x / lanes; slot < first.live; slot += kReplaceThreads / lanes) {
    const int32_t pos = lane_of(first, 0, slot);
    if (is_protected<P>(first, slot, pos)) continue;
    float score = score_slot<P>(first, slot, across, params);
    if (P::heads == Heads::shared) {  // the mean over the layer's heads, in their order
      for (int i = 1; i < n; i++) score += score_slot<P>(Head<KV, D>(s, row, layer, head0 + i), slot, across, params);
      score /= (float)n;
    }
    const uint64_t rank = rank_of(score, pos);
    if (rank < least) {
      least = rank;
      hole = slot;
    }
  }
  uint64_t best = least;
  SKV_UNROLL for (int k = 16; k > 0; k /= 2) {
    const uint64_t other = __shfl_xor_sync(kFull, best, k);
    best = other < best ? other : best;
  }
  if (threadIdx.x % 32 == 0) ranks[threadIdx.x / 32] = best;
  __syncthreads();
  SKV_UNROLL for (int w = 0; w < kReplaceWarps; w++) {
    const uint64_t other = ranks[w];
    best = other < best ? other : best;
  }
  if (best == ~(uint64_t)0) return;  // all are protected
  if (hole >= 0 && least == best && (lanes == 1 || vec_lane() == 0)) found[0] = hole;  // ranks differ: one thread
  __syncthreads();
  const int32_t lost = (int32_t)(uint32_t)best;
  for (int i = 0; i < n; i++) replace_slot<P>(Head<KV, D>(s, row, layer, head0 + i), found[0], lost);
  __syncthreads();
  if ((int)threadIdx.x < n) global(s.lengths)[first.index + threadIdx.x] = budget;
}

constexpr int kReplaceShared = 64;
