// The two products of attention by AMX's tiles, for blocks of up to 16 query rows (products.hpp has the others).
//
//   tile 0 … 3  sums of N pages, or N times 16 dims: [row][16] f32
//        4, 6   32 dims of queries [row][16 pairs], and of a page's keys [16 pairs][16 slots]
//        5, 7   a page's probabilities [row][8 pairs], and 16 dims of its values [8 pairs][16 dims]; of a head size
//        that
//               32 does not divide, the last 16 dims of queries and keys
//
// Pages lie as the instruction wants them. It adds the products of a tile's even elements one after the other, and
// those of odd ones, then the two, and that to the sum: other bits than elsewhere, and the same for every row of every
// block, however many rows there are. So decode multiplies by tiles, too, for the bits of prompts.
//
// By count its exponentials bound a block: 16 rows, 64 dims and a page are 6 products of 16 cycles each. By a profile
// (one, on an Emerald Rapids, pages in the second-level cache) 57 % of the time are the products', 29 the
// exponentials'.
#pragma once
#include "amx.cpu.h"
#include "cursor.hpp"

constexpr int kMultiplierTile = 4, kOperandTile = 6;  // of 16 pairs; those of 8 come next
constexpr int kAmxPairs = 16, kAmxRows = 16;

// What this thread's tiles are while it has an item.
class AmxShapes {
 public:
  AmxShapes() = default;
  AmxShapes(const AmxShapes&) = delete;
  ~AmxShapes() {
    if (rows_) skv_tiles_release();  // or the system keeps 8 KiB of tiles for the thread
  }
  // For blocks of so many rows.
  void shape(int rows) const {
    if (rows == rows_) return;
    rows_ = rows;
    skv_tile_shapes shapes;
    for (int sum = 0; sum < 4; sum++) shapes.set(sum, rows, 64);
    for (int i = 0, pairs = kAmxPairs; i < 2; i++, pairs /= 2) {
      shapes.set(kMultiplierTile + i, rows, 4 * pairs);
      shapes.set(kOperandTile + i, pairs, 64);
    }
    skv_tiles_configure(&shapes);
  }

 private:
  mutable int rows_ = 0;
};

// each(Count<n>()) for n in [0, N).
template <int N, int n = 0, class Each>
SKV_INLINE void each_sum(Each each) {
  if constexpr (n < N) {
    each(Count<n>());
    each_sum<N, n + 1>(each);
  }
}

// Sum n += multipliers . operand(n), each of 8 or 16 pairs; strides in bytes.
template <int N, int pairs, class Operand>
SKV_INLINE void amx_multiply(const void* multipliers, size_t stride, Operand operand, size_t operand_stride) {
  constexpr int half = pairs < kAmxPairs, a = kMultiplierTile + half, b = kOperandTile + half;
  skv_tile_load<a>(multipliers, stride);
  each_sum<N>([&](auto n) SKV_FLAT {
    skv_tile_load<b>(operand(n), operand_stride);
    skv_tile_dot_bf16<n, a, b>();
  });
}

template <int N>
SKV_INLINE void amx_zero() {
  each_sum<N>([](auto n) SKV_FLAT { skv_tile_zero<n>(); });
}

// to [row][N times 16]; stride in floats
template <int N>
SKV_INLINE void amx_store(float* to, int64_t stride) {
  each_sum<N>([&](auto n) SKV_FLAT { skv_tile_store<n>(to + 16 * n, 4 * stride); });
}

// logits [row][N pages x 16 slots]
template <class KV, int N, bool kPrefetch>
SKV_INLINE void amx_logits(const typename KV::Word* const* keys, const typename KV::Multiplier* q, int half,
                           float* logits, int stride, const uint8_t* const* ahead) {
  amx_zero<N>();
  auto multiply = [&](auto pairs, int j) SKV_FLAT {
    if (kPrefetch)
      for (int n = 0; n < N; n++)
        for (int i = 0; i < pairs; i++) prefetch(ahead[n] + 64 * (j + i));
    amx_multiply<N, pairs>(q + j, 4 * half, [&](int n) SKV_FLAT { return keys[n] + 32 * j; }, 64);
  };
  int j = 0;
  for (; j + kAmxPairs <= half; j += kAmxPairs) multiply(Count<kAmxPairs>(), j);
  if (j < half) multiply(Count<kAmxPairs / 2>(), j);
  amx_store<N>(logits, stride);
}

// out[row][d0 … d0 + 16 N) = sum over slots of p[page][row][slot] * value[slot]
template <class KV, int N, bool kPrefetch>
SKV_INLINE void amx_values(const Head<KV>& h, const PageCursor<KV>& cursor, int slots, int d0,
                           const typename KV::Multiplier* p, int pitch, float* out, int64_t stride) {
  amx_zero<N>();
  auto multiply = [&](int i, const typename KV::Word* values, int dim) SKV_FLAT {
    amx_multiply<N, kPagePairs>(
        p + (int64_t)i * pitch, 4 * kPagePairs, [&](int n) SKV_FLAT { return values + 32 * n; }, 4 * dim);
  };
  const int whole = slots / SKV_PAGE, rest = (slots % SKV_PAGE + 1) / 2;
  for (int i = 0; i < whole + (rest > 0); i++) {
    const auto* values = h.values(cursor.page0 + i) + 2 * d0;
    const uint8_t* ahead = kPrefetch ? cursor.ahead(kSegmentPages + i) + 4 * d0 : nullptr;
    const int count = i < whole ? kPagePairs : rest;
    if (kPrefetch)
      for (int s = 0; s < count; s++)
        for (int n = 0; n < N; n++) prefetch(ahead + 4 * s * h.dim + 64 * n);
    if (i < whole) {
      multiply(i, values, h.dim);
      continue;
    }
    alignas(64) typename KV::Word last[kPagePairs][32 * N] = {};  // what lies behind the last slot may be no number
    for (int s = 0; s < rest; s++) memcpy(last[s], values + 2 * s * h.dim, sizeof last[s]);
    multiply(i, last[0], 16 * N);
  }
  amx_store<N>(out + d0, stride);
}
