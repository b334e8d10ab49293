// Statistics of partitions, and the scores that read them, by one block of 256 threads: one run of slots, those of a
// partition, after the other.
//
//   keys and values [slot][dim] -> extremes [floats] of the run that follows (shared), places [place][slot] (scratch)
//   -> scores
//   bytes: d b for each vector that the extremes, a place or the score reads. Bound by the latency of a slot's vectors;
//   a rank compares each slot of a run with each.
//
// Slots lie in position order. What a run's extremes are of is the partition that follows, which may have no slots.
#pragma once
#include "across.cuh"

// Which vectors a function reads.
template <bool key_, bool value_>
struct Reads {
  static constexpr bool key = key_, value = value_;
};

// Where places lie, place by place, and one row of scratch behind them.
template <class P, class Floats>
struct Places {
  Floats at;
  int slots;
  __device__ __forceinline__ Floats row(int place) const { return at + place * slots; }
};

// Softmax of x over slots [from, end), in place; the sum is a statistic's, other slots absent. Each sixteen lanes have
// all of them.
template <class Floats>
SKV_INLINE void softmax_of(Floats x, int from, int end) {
  const int first = from + (vec_lane() - from % SKV_PAGE + SKV_PAGE) % SKV_PAGE;  // of this lane
  float most = -INFINITY, sum = 0;
  for (int s = first; s < end; s += SKV_PAGE) most = skv_max(most, x[s]);
  most = skv_extreme_of_lanes(most, [](float a, float b) { return skv_max(a, b); });
  __syncthreads();  // all have read
  for (int s = from + threadIdx.x; s < end; s += kAcrossThreads) x[s] = skv_exp(x[s] - most);
  __syncthreads();
  for (int s = first; s < end; s += SKV_PAGE) sum += x[s];
  sum = skv_tree(sum);
  __syncthreads();
  for (int s = from + threadIdx.x; s < end; s += kAcrossThreads) x[s] = x[s] / sum;
  __syncthreads();
}

// How many of slots [from, end) come before each: larger, or equal and newer. ranks [slot] is scratch.
template <class Floats>
SKV_INLINE void ranks_of(Floats x, Floats ranks, int from, int end) {
  for (int s = from + threadIdx.x; s < end; s += kAcrossThreads) {
    const uint32_t own = skv_ordered(x[s]);
    int before = 0;
    for (int t = from; t < end; t++) {
      const uint32_t other = skv_ordered(x[t]);
      before += other > own || (other == own && t > s);
    }
    ranks[s] = (float)before;
  }
  __syncthreads();
  for (int s = from + threadIdx.x; s < end; s += kAcrossThreads) x[s] = (float)ranks[s];
  __syncthreads();
}

// Places from number `place` on of slots [from, end).
template <class P, int place, class Floats, class Each>
SKV_INLINE void set_places(int from, int end, const Places<P, Floats>& places, typename P::Across* across, Each each) {
  if constexpr (place < P::places) {
    const Floats x = places.row(place);
    for (int s = from + threadIdx.x / kVecLanes; s < end; s += SKV_PAGE)
      each(s, Reads<P::place_reads_key(place), P::place_reads_value(place)>(),
           [&](const Slot& slot, const float* states) {
             P::template load_places<place>([&](int i) -> float { return places.row(i)[s]; }, across);
             const float value = P::template place_by<place>(slot, states, *across);
             if (vec_lane() == 0) x[s] = value;
           });
    __syncthreads();
    if (P::place_how(place) == Reduce::softmax)
      softmax_of(x, from, end);
    else
      ranks_of(x, places.row(P::places), from, end);
    set_places<P, place + 1>(from, end, places, across, each);
  }
}

// partition(slot); each(slot, reads, visit): visit(slot, states) with the vectors that it reads; put(slot, score), from
// one of the sixteen lanes. All threads of the block come here.
template <class P, class Floats, class Partition, class Each, class PutScore>
SKV_INLINE void score_runs(int live, int dim, Shared<float> tile, Shared<float> totals, const Places<P, Floats>& places,
                           typename P::Across across, Partition partition, Each each, PutScore put) {
  auto end_of = [&](int from) {  // of the run that begins at `from`
    int low = from, high = live;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (partition(middle) > partition(from))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  };
  SKV_LOOP for (int from = 0, end = 0; from < live; from = end) {
    end = end_of(from);
    const bool follows = end < live && partition(end) == partition(from) + 1;
    gather_across<P, false>(end, follows ? end_of(end) : end, dim, tile, totals, [&](int s, const Put<P>& to) {
      each(s, Reads<P::extremes_read_key, P::extremes_read_value>(),
           [&](const Slot& slot, const float* states) { P::extremes_slot(slot, states, to); });
    });
    P::load_extremes(Totals<P>{totals, dim}, &across);
    set_places<P, 0>(from, end, places, &across, each);
    for (int s = from + threadIdx.x / kVecLanes; s < end; s += SKV_PAGE)
      each(s, Reads<P::score_reads_key, P::score_reads_value>(), [&](const Slot& slot, const float* states) {
        P::template load_places<P::places>([&](int i) -> float { return places.row(i)[s]; }, &across);
        const float score = P::score(slot, states, across);
        if (vec_lane() == 0) put(s, score);
      });
    __syncthreads();
  }
}
