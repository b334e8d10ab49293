// The best tokens of a draw in order: a batch at a time, chosen by radix of their keys, sorted in shared memory. One
// batch is all that a draw wants, mostly; where it wants more than kBatch tokens, the next batch goes on below the
// last.
#pragma once
#include "draw.cuh"

// A token's key: higher logit first, the lower token among equals; no two are equal, and 0 is no token's.
SKV_INLINE uint64_t key_of(float logit, int token) { return (uint64_t)skv_ordered(logit) << 32 | ~(uint32_t)token; }
SKV_INLINE int token_of(uint64_t key) { return (int)~(uint32_t)key; }

// What has been said of the keys below `high`: those of at least `low` are `count`.
struct KeyRange {
  uint64_t low;
  int count;
};

// The largest `low` with `want` keys in [low, high), as whole bins of eight bits give them: at most kBatch, and at
// least one where there is one.
template <class Key>
SKV_INLINE KeyRange range_below(const DrawMemory& m, int vocab, uint64_t high, int want, Key key) {
  uint64_t prefix = 0;  // of the keys that are counted: the bits above the bin
  for (int shift = 56;; shift -= 8) {
    for (int b = threadIdx.x; b < kBins; b += kDrawThreads) m.bins[b] = 0;
    __syncthreads();
    for (int t = threadIdx.x; t < vocab; t += kDrawThreads) {
      const uint64_t k = key(t);
      if (k && k < high && (shift == 56 || k >> (shift + 8) == prefix))
        atomic_add(m.bins, int(k >> shift & (kBins - 1)), 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int count = 0, bin = kBins - 1;
      for (; bin >= 0; bin--) {
        const int more = m.bins[bin];
        if (count + more > kBatch) break;
        count += more;
        if (count >= want) break;
      }
      m.found[4] = bin;
      m.found[5] = count;
    }
    __syncthreads();
    const int bin = m.found[4], count = m.found[5];
    if (bin >= 0 && count == 0) {  // one bin has too many: its keys by their next bits
      prefix = prefix << 8 | (uint64_t)bin;
      continue;
    }
    const uint64_t first = bin < 0 ? 0 : count >= want ? (uint64_t)bin : (uint64_t)bin + 1;
    return {(prefix << 8 | first) << shift, count};
  }
}

// keys [n] in falling order; n is a power of two.
SKV_INLINE void sort_keys(Shared<uint64_t> keys, int n) {
  for (int size = 2; size <= n; size *= 2)
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int i = threadIdx.x; i < n / 2; i += kDrawThreads) {
        const int low = 2 * i - i % stride, high = low + stride;
        const uint64_t a = keys[low], b = keys[high];
        if ((a < b) == ((low & size) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      __syncthreads();
    }
}

// The next best keys below `high`, at least `want` of them unless there are fewer or a batch has no more, in m.keys in
// order. Behind a barrier.
template <class Key>
SKV_INLINE KeyRange next_batch(const DrawMemory& m, int vocab, uint64_t high, int want, Key key) {
  const KeyRange range = range_below(m, vocab, high, want, key);
  int padded = 1;
  while (padded < range.count) padded *= 2;
  if (threadIdx.x == 0) m.found[2] = 0;
  for (int i = threadIdx.x; i < padded; i += kDrawThreads) m.keys[i] = 0;
  __syncthreads();
  for (int t = threadIdx.x; t < vocab; t += kDrawThreads) {
    const uint64_t k = key(t);
    if (k && k < high && k >= range.low) m.keys[atomic_add(m.found + 2, 0, 1)] = k;
  }
  __syncthreads();
  sort_keys(m.keys, padded);
  return range;
}

// Tokens with a key, best first, written to `order` until there are `most` or `enough(how many)` is true; it is asked
// after each batch but the last, when their order is there for all threads. Returns how many they are.
template <class Key, class Enough>
SKV_INLINE int best_in_order(const DrawMemory& m, Global<int32_t> order, int vocab, int most, Key key, Enough enough) {
  uint64_t high = ~(uint64_t)0;
  for (int n = 0;;) {
    const KeyRange range = next_batch(m, vocab, high, most - n, key);
    const int taken = smaller(range.count, most - n);
    for (int i = threadIdx.x; i < taken; i += kDrawThreads) order[n + i] = token_of(m.keys[i]);
    __syncthreads();
    n += taken;
    high = range.low;
    if (range.count == 0 || n == most || enough(n)) return n;
  }
}
