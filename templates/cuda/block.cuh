// What the 256 threads of a block do together: sums, the least of them, and radix selection.
//
//   shared memory of BlockMemory::bytes; every function is called by all threads, and ends behind a barrier
#pragma once
#include "layout.cuh"

constexpr int kBlockThreads = 256, kBlockWarps = kBlockThreads / 32;

// A block's small shared arrays.
struct BlockMemory {
  Shared<int> warps;  // [kBlockWarps]
  Shared<int> bins;   // [256]
  Shared<int> found;  // [4], two of them used: a pass's digit, and the weight above it
  Shared<int> from;   // [kBlockThreads] slots, or the warps' least
  __device__ __forceinline__ BlockMemory(Arena& arena)
      : warps(arena.take<int>(kBlockWarps, "warp sums")),
        bins(arena.take<int>(256, "bins")),
        found(arena.take<int>(4, "found")),
        from(arena.take<int>(kBlockThreads, "from")) {}
  static constexpr int bytes = (kBlockWarps + 256 + 4 + kBlockThreads) * 4;
};

// Sum of the values of earlier threads; *total of all. Begins and ends with nothing pending: one barrier before, one
// after.
SKV_INLINE int block_scan(const BlockMemory& m, int value, int* total) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = value;
  SKV_UNROLL for (int n = 1; n < 32; n *= 2) {
    const int other = __shfl_up_sync(kFull, sum, n);
    if (lane >= n) sum += other;
  }
  if (lane == 31) m.warps[warp] = sum;
  __syncthreads();
  int before = 0, all = 0;
  SKV_UNROLL for (int w = 0; w < kBlockWarps; w++) {
    const int each = m.warps[w];
    before += w < warp ? each : 0;
    all += each;
  }
  __syncthreads();
  *total = all;
  return before + sum - value;
}

SKV_INLINE int block_sum(const BlockMemory& m, int value) {
  int total;
  block_scan(m, value, &total);
  return total;
}

// The least of the threads' values.
SKV_INLINE uint64_t block_least(const BlockMemory& m, uint64_t value) {
  SKV_UNROLL for (int n = 16; n > 0; n /= 2) {
    const uint64_t other = __shfl_xor_sync(kFull, value, n);
    value = other < value ? other : value;
  }
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) {
    m.from[2 * warp] = (int)(uint32_t)value;
    m.from[2 * warp + 1] = (int)(uint32_t)(value >> 32);
  }
  __syncthreads();
  SKV_UNROLL for (int w = 0; w < kBlockWarps; w++) {
    const uint64_t other = (uint32_t)(int)m.from[2 * w] | (uint64_t)(uint32_t)(int)m.from[2 * w + 1] << 32;
    value = other < value ? other : value;
  }
  __syncthreads();
  return value;
}

// One that radix_border may take.
struct Item {
  bool competes;
  uint64_t rank;
  int weight;
};

// Items are taken from the highest rank down while their weights fit into `count`: returns the rank of the first that
// does not fit, so that those above it are the ones taken. The weights' sum must exceed count. Eight passes of eight
// bits at most; the digits of a pass are counted in shared memory, lanes with the same digit at once.
template <bool kUnit, class Items>
SKV_INLINE uint64_t radix_border(const BlockMemory& m, int n, int count, Items items) {
  uint64_t border = 0;
  SKV_LOOP for (int shift = 56; shift >= 0; shift -= 8) {
    m.bins[threadIdx.x] = 0;
    __syncthreads();
    for (int base = 0; base < n; base += kBlockThreads) {
      const int i = base + threadIdx.x;
      Item item = {false, 0, 0};
      if (i < n) item = items(i);
      const bool counts = item.competes && (shift == 56 || item.rank >> (shift + 8) == border >> (shift + 8));
      const uint32_t digit = (uint32_t)(item.rank >> shift) & 255;
      if (kUnit) {
        const uint32_t with = __ballot_sync(kFull, counts);
        if (counts) {
          const uint32_t same = __match_any_sync(with, digit);
          if (__ffs(same) - 1 == (int)(threadIdx.x % 32)) atomic_add(m.bins, (int)digit, __popc(same));
        }
      } else if (counts) {
        atomic_add(m.bins, (int)digit, item.weight);
      }
    }
    __syncthreads();
    // thread i looks at digit 255 - i: the scan runs from the top
    const int weight = m.bins[255 - threadIdx.x];
    int total;
    const int above = block_scan(m, weight, &total);
    if (above <= count && count < above + weight) {
      m.found[0] = 255 - threadIdx.x;
      m.found[1] = above;
    }
    __syncthreads();
    border |= (uint64_t)(uint32_t)(int)m.found[0] << shift;
    count -= m.found[1];
    __syncthreads();
    if (count == 0) return border | (((uint64_t)1 << shift) - 1);  // nothing of this digit fits
  }
  return border;
}
