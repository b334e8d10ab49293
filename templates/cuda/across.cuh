// across: statistics over the live slots of a head, by one block of 256 threads: sixteen lanes a slot, a page at a
// time.
//
//   a slot's statistics -> tile [16 slots][floats] -> totals [floats]: a scalar is one float, a vector dim
//   bytes: 4 states per slot, d b for each vector that a statistic reads. Bound by the latency of a page: two barriers.
//
// Each slot's values go to a row of the tile; then a thread a float reduces the page: sums in a tree over the slots, as
// skv_tree, absent ones 0; extremes in slot order. Pages follow in order: the language's order, hence its bits.
#pragma once
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

// Stores a slot's values in its row of the tile.
template <class P>
struct Put {
  Shared<float> row;
  int dim;
  __device__ __forceinline__ void operator()(int i, float value) const {
    if (vec_lane() == 0) row[statistic_at<P>(i, dim)] = value;
  }
  __device__ __forceinline__ void operator()(int i, const Vec& value) const {
    SKV_UNROLL for (int e = 0; e < kMaxDim / kVecLanes; e++)
      if (e * kVecLanes < dim) row[statistic_at<P>(i, dim) + e * kVecLanes + vec_lane()] = value.at[e];
  }
};

// One float of a page's slots added to its total.
SKV_INLINE float reduced(Reduce how, float total, Shared<float> tile, int floats, int f, int slots) {
  if (is_extreme(how)) {
    for (int s = 0; s < slots; s++) total = extreme_of(how, total, tile[s * floats + f]);
    return total;
  }
  float lanes[SKV_PAGE];
  SKV_UNROLL for (int s = 0; s < SKV_PAGE; s++) lanes[s] = s < slots ? (float)tile[s * floats + f] : 0.0f;
  SKV_UNROLL for (int width = SKV_PAGE / 2; width > 0; width /= 2)
    SKV_UNROLL for (int l = 0; l < SKV_PAGE / 2; l++) if (l < width) lanes[l] += lanes[l + width];
  return total + lanes[0];
}

// each(slot, put) hands a slot's values to put. All threads of the block come here.
template <class P, class Each>
SKV_INLINE void gather_across(int live, int dim, Shared<float> tile, Shared<float> totals, Each each) {
  const int floats = statistic_at<P>(P::statistics, dim), mine = threadIdx.x / kVecLanes;
  // how float f is reduced
  auto how = [&](int f) {
    int i = 0;
    while (i + 1 < P::statistics && f >= statistic_at<P>(i + 1, dim)) i++;
    return P::reduce(i);
  };
  for (int f = threadIdx.x; f < floats; f += kAcrossThreads)
    totals[f] = total_of_none(how(f));
  for (int page = 0; page < live; page += SKV_PAGE) {
    if (page + mine < live) each(page + mine, Put<P>{tile + mine * floats, dim});
    __syncthreads();
    for (int f = threadIdx.x; f < floats; f += kAcrossThreads)
      totals[f] = reduced(how(f), totals[f], tile, floats, f, min(SKV_PAGE, live - page));
    __syncthreads();
  }
  for (int f = threadIdx.x; f < floats; f += kAcrossThreads)
    if (how(f) == Reduce::mean) totals[f] = totals[f] / (float)live;
  __syncthreads();
}

template <class P>
SKV_BOTH int across_shared(int dim) {
  return P::has_across ? (SKV_PAGE + 1) * statistic_at<P>(P::statistics, dim) * 4 + 64 : 0;
}
