// across: statistics over the live slots of a head, by one block of 256 threads: sixteen lanes a slot, which takes
// every sixteenth slot.
//
//   a slot's statistics -> tile [16][floats] -> totals [floats]: a scalar is one float, a vector dim
//   bytes: 4 states per slot, d b for each vector that a statistic reads. Bound by the latency of a slot's vectors; one
//   barrier a head.
//
// Each slot's values join row s % 16 of the tile, which its own sixteen lanes alone touch; then a thread a float joins
// the rows in a tree: the language's order, hence its bits (shared/across.hpp).
#pragma once
#include "block.cuh"
#include "shared/across.hpp"
#include "slot.cuh"

constexpr int kAcrossThreads = SKV_PAGE * kVecLanes;

template <class P>
struct Totals {
  Shared<float> at;
  int dim;
  __device__ __forceinline__ float scalar(int i) const { return at[statistic_at<P>(i, dim)]; }
  __device__ __forceinline__ Vec vector(int i) const {
    Vec out;
    SKV_UNROLL for (int e = 0; e < kMaxDim / kVecLanes; e++)
      if (e * kVecLanes < dim) out.at[e] = at[statistic_at<P>(i, dim) + e * kVecLanes + vec_lane()];
    return out;
  }
};

// Joins a slot's values to those of its row of the tile; of the kind nth it is the last slot's value that stays.
template <class P>
struct Put {
  Shared<float> row;
  int dim;
  __device__ __forceinline__ void operator()(int i, float value) const {
    if (vec_lane() == 0) join(i, statistic_at<P>(i, dim), value);
  }
  __device__ __forceinline__ void operator()(int i, const Vec& value) const {
    SKV_UNROLL for (int e = 0; e < kMaxDim / kVecLanes; e++)
      if (e * kVecLanes < dim) join(i, statistic_at<P>(i, dim) + e * kVecLanes + vec_lane(), value.at[e]);
  }
  __device__ __forceinline__ void join(int i, int f, float value) const {
    row[f] = P::reduce(i) == Reduce::nth ? value : joined(P::reduce(i), row[f], value);
  }
};

// One float of the tile's rows, in a tree.
SKV_INLINE float joined_rows(Reduce how, Shared<float> tile, int floats, int f) {
  float rows[SKV_PAGE];
  SKV_UNROLL for (int r = 0; r < SKV_PAGE; r++) rows[r] = tile[r * floats + f];
  SKV_UNROLL for (int width = SKV_PAGE / 2; width > 0; width /= 2)
    SKV_UNROLL for (int r = 0; r < SKV_PAGE / 2; r++) if (r < width) rows[r] = joined(how, rows[r], rows[r + width]);
  return rows[0];
}

// The statistics of slots [from, end): of the kind of_head, or of the next partition. each(slot, put) hands a slot's
// values to put. All threads of the block come here.
template <class P, bool of_head, class Each>
SKV_INLINE void gather_across(int from, int end, int dim, Shared<float> tile, Shared<float> totals, Each each) {
  const int floats = statistic_at<P>(P::statistics, dim), mine = threadIdx.x / kVecLanes;
  auto statistic = [&](int f) {
    int i = 0;
    while (i + 1 < P::statistics && f >= statistic_at<P>(i + 1, dim)) i++;
    return i;
  };
  // calls reduce(f, how) for this thread's floats
  auto each_float = [&](auto reduce) {
    for (int f = threadIdx.x; f < floats; f += kAcrossThreads) {
      const int i = statistic(f);
      if (is_of_head<P>(i) == of_head && !is_place(P::reduce(i))) reduce(f, P::reduce(i));
    }
  };
  each_float([&](int f, Reduce how) {
    for (int r = 0; r < SKV_PAGE; r++) tile[r * floats + f] = total_of_none(how);
  });
  __syncthreads();
  for (int s = from + mine; s < end; s += SKV_PAGE) each(s, Put<P>{tile + mine * floats, dim});
  __syncthreads();
  each_float([&](int f, Reduce how) {
    totals[f] = statistic_of(how, joined_rows(how, tile, floats, f), end - from);
  });
  __syncthreads();
}

// The n-th largest values of the statistics of that kind, one after the other. values [live] is scratch.
template <class P, class Each>
SKV_INLINE void gather_ranked(int live, int dim, Shared<float> tile, Shared<float> totals, Global<float> values,
                              const BlockMemory& m, const float* params, Each each) {
  const int floats = statistic_at<P>(P::statistics, dim), mine = threadIdx.x / kVecLanes;
  SKV_UNROLL for (int i = 0; i < P::statistics; i++) {
    if (P::reduce(i) != Reduce::nth) continue;
    const int at = statistic_at<P>(i, dim), n = min((int)P::nth(i, params), live);
    for (int slot = mine; slot < live; slot += SKV_PAGE) {
      each(slot, Put<P>{tile + mine * floats, dim});
      if (vec_lane() == 0) values[slot] = (float)tile[mine * floats + at];
    }
    __syncthreads();
    auto rank = [&](int slot) -> uint64_t { return (uint64_t)skv_ordered(values[slot]) << 32 | (uint32_t)slot; };
    const uint64_t border =
        radix_border<true>(m, live, max(n - 1, 0), [&](int slot) -> Item { return {true, rank(slot), 1}; });
    // those above the border are the n - 1 highest: the highest of the others
    uint64_t least = ~(uint64_t)0;
    for (int slot = threadIdx.x; slot < live; slot += kAcrossThreads)
      if (rank(slot) <= border && ~rank(slot) < least) least = ~rank(slot);
    const uint64_t nth = ~block_least(m, least);
    if (threadIdx.x == 0) totals[at] = n < 1 ? INFINITY : skv_of_ordered((uint32_t)(nth >> 32));
    __syncthreads();
  }
}

// Rows of a number of each slot that places need: theirs, and one of scratch.
template <class P>
SKV_BOTH constexpr int place_rows() {
  return P::places > 0 ? P::places + 1 : 0;
}

template <class P>
SKV_BOTH int across_shared(int dim) {
  return P::has_across || P::partitioned ? (SKV_PAGE + 1) * statistic_at<P>(P::statistics, dim) * 4 + 64 : 0;
}
