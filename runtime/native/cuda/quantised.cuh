// Products with weights as their file has them, and rows of such weights as plain numbers.
//
//   w  [row][row_words] blocks of a type (cpu/weight_blocks.h), rows begin on 16 bytes
//   x  [token][cols] f32 or bf16
//
//   quantised_kernel   grid (rows of warps)   w, x -> out [token][stride] f32. A warp has kProductRows rows, a lane
//                                             eight columns of every 256 at a time. Bound by memory: w is read once for
//                                             all tokens, cols * bytes of a block / its weights for each row; x out of
//                                             the caches. Beyond a few tokens, by count, by its multiplications
//   dequantise_kernel  grid (rows)            w -> out [row][cols] f32 or bf16. Reads w and writes out once
//
// A sum's order depends on cols alone, not on how many tokens or rows there are.
#pragma once
#include "cuda/layout.cuh"
#include "quantised.h"
#include "weight_blocks.h"

constexpr int kProductWarps = 4, kProductThreads = kProductWarps * 32, kProductRows = 2;
constexpr int kLaneCols = 8;  // neighbours of one half of a block

// Bytes of a block among words. Blocks begin at even bytes, those of whole words at whole words.
template <bool whole_words>
struct InWords {
  Global<const uint32_t> words;
  int byte0;
  __device__ __forceinline__ int byte(int i) const {
    const int at = byte0 + i;
    return (uint32_t)words[at / 4] >> (8 * (at % 4)) & 255;
  }
  __device__ __forceinline__ float half(int i) const {
    const int at = byte0 + i;
    return half_to_float((uint16_t)((uint32_t)words[at / 4] >> (8 * (at % 4)) & 0xffff));
  }
  __device__ __forceinline__ uint32_t word(int i) const {
    const int at = byte0 + i;
    const uint32_t low = words[at / 4];
    if (whole_words || at % 4 == 0) return low;
    return low >> 16 | (uint32_t)words[at / 4 + 1] << 16;
  }
};

// Eight weights of a row, from column 8 `eighth` on.
template <class Blocks>
SKV_INLINE void eight_weights(Global<const uint32_t> row, int eighth, float* out) {
  constexpr int in_one = Blocks::kElements / 32;  // blocks of a super-block
  const int block = eighth / 4, j = eighth % 4 * 2, s = block % in_one;
  const InWords<Blocks::kBytes % 4 == 0> at = {row, block / in_one * Blocks::kBytes};
  float d, m = 0;
  Blocks::scales(at, s, j / 4, &d, &m);
  SKV_UNROLL for (int v = 0; v < 2; v++) {
    const uint32_t four = Blocks::four(at, s, j + v);
    SKV_UNROLL for (int e = 0; e < 4; e++)
      out[4 * v + e] = fmaf(d, float(int(four >> (8 * e) & 255) - Blocks::kZero), m);
  }
}

SKV_INLINE void eight_numbers(Global<const uint32_t> x, int64_t eighth, bool wide, float* out) {
  if (wide) {
    SKV_UNROLL for (int q = 0; q < 2; q++) decode_quad<F32>(load_quad(x, eighth * 8 + 4 * q), out + 4 * q);
  } else {
    decode_quad<Bf16>(load_quad(x, eighth * 4), out);
  }
}

template <class Blocks>
__global__ void __launch_bounds__(kProductThreads) quantised_kernel(skv::QuantisedProduct p) {
  const int lane = threadIdx.x % 32, row0 = (blockIdx.x * kProductWarps + threadIdx.x / 32) * kProductRows;
  if (row0 >= p.rows) return;
  const Global<const uint32_t> w = global(p.w), x = global(p.x);
  float sum[kProductRows][skv::kFewTokens] = {};
  for (int i = lane; i < p.cols / kLaneCols; i += 32) {
    float weights[kProductRows][kLaneCols];
    SKV_UNROLL for (int r = 0; r < kProductRows; r++)  // a row that is not there is its last one
      eight_weights<Blocks>(w + (int64_t)smaller(row0 + r, p.rows - 1) * p.row_words, i, weights[r]);
    SKV_UNROLL for (int t = 0; t < skv::kFewTokens; t++) {
      if (t >= p.tokens) break;
      float numbers[kLaneCols];
      eight_numbers(x, (int64_t)t * (p.cols / kLaneCols) + i, p.wide, numbers);
      SKV_UNROLL for (int r = 0; r < kProductRows; r++)
        SKV_UNROLL for (int e = 0; e < kLaneCols; e++) sum[r][t] = fmaf(weights[r][e], numbers[e], sum[r][t]);
    }
  }
  SKV_UNROLL for (int t = 0; t < skv::kFewTokens; t++) {
    if (t >= p.tokens) break;
    SKV_UNROLL for (int r = 0; r < kProductRows; r++) {
      float all = sum[r][t];
      SKV_UNROLL for (int n = 16; n > 0; n /= 2) all += __shfl_xor_sync(kFull, all, n);
      if (lane == 0 && row0 + r < p.rows) global(p.out)[(int64_t)t * p.stride + row0 + r] = all;
    }
  }
}

template <class Blocks>
__global__ void __launch_bounds__(kProductThreads) dequantise_kernel(skv::Dequantise d) {
  const int64_t row = d.source ? (int64_t)global(d.source)[blockIdx.x] : (int64_t)d.row0 + blockIdx.x;
  const Global<const uint32_t> w = global(d.w) + row * d.row_words;
  const Global<uint32_t> out = global(d.out);
  for (int i = threadIdx.x; i < d.cols / kLaneCols; i += kProductThreads) {
    float weights[kLaneCols];
    eight_weights<Blocks>(w, i, weights);
    const int64_t eighth = (int64_t)blockIdx.x * (d.cols / kLaneCols) + i;
    if (d.wide) {
      SKV_UNROLL for (int e = 0; e < kLaneCols; e++) out[eighth * 8 + e] = F32::encode(weights + e);
    } else {
      SKV_UNROLL for (int e = 0; e < kLaneCols; e += 2) out[eighth * 4 + e / 2] = Bf16::encode(weights + e);
    }
  }
}
