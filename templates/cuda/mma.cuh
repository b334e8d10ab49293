// The matrix product of a warp, c[16 rows][8 columns] += a[16 rows][16] b[16][8 columns] into f32, and how its operands
// lie in registers. One instruction for bf16 and f16; a plain form by shuffles for f32 and, with -DSKV_PLAIN_MMA, for
// all; test/emulation/product.hpp where there is no GPU.
//
//   lane = 4 g + t has of
//   a   registers 0 … 3: of r, row g + 8 (r % 2), elements 8 (r / 2) + 2 t and the next
//   b   registers b0, b1: of column g, elements 2 t and the next; 8 more
//   c   0, 1: row g, columns 2 t and 2 t + 1; 2, 3: the same of row g + 8
#pragma once
#include "layout.cuh"

// A register holds two neighbouring elements: one word of bf16 or f16, two of f32.
template <class KV>
struct Pair {
  uint32_t word[2 / KV::per_word];
  __device__ __forceinline__ float get(int i) const {
    float x[2];
    KV::decode(word[0], x);
    if (KV::per_word == 1) KV::decode(word[2 / KV::per_word - 1], x + 1);
    return i ? x[1] : x[0];
  }
};

template <class KV>
SKV_INLINE Pair<KV> pair_of(float x, float y) {
  const float both[2] = {x, y};
  Pair<KV> out;
  out.word[0] = KV::encode(both);
  if (KV::per_word == 1) out.word[2 / KV::per_word - 1] = KV::encode(both + 1);
  return out;
}

// Elements 2 i and 2 i + 1 of a quad.
template <class KV>
SKV_INLINE Pair<KV> pair_in(const Quad& quad, int i) {
  constexpr int words = 2 / KV::per_word;
  Pair<KV> out;
  SKV_UNROLL for (int w = 0; w < words; w++) out.word[w] = quad.word[i * words + w];
  return out;
}

// Element e of two quads.
template <class KV>
SKV_INLINE Pair<KV> pair_across(const Quad& a, const Quad& b, int e) {
  const uint32_t x = a.word[e / KV::per_word], y = b.word[e / KV::per_word];
  Pair<KV> out;
  if (KV::per_word == 1) {
    out.word[0] = x;
    out.word[2 / KV::per_word - 1] = y;
  } else {
    out.word[0] = e % 2 ? high_halves(x, y) : low_halves(x, y);
  }
  return out;
}

// Elements d and d + 1 (d even) of a row of words.
template <class KV>
SKV_INLINE Pair<KV> pair_at(Shared<const uint32_t> row, int d) {
  Pair<KV> out;
  SKV_UNROLL for (int w = 0; w < 2 / KV::per_word; w++) out.word[w] = row[d / KV::per_word + w];
  return out;
}

// The same product in plain steps: c += sum over k, in order, of a(row, k) b(k, column).
template <class KV>
SKV_INLINE void multiply_plain(float* c, const Pair<KV>* a, const Pair<KV>& b0, const Pair<KV>& b1) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  SKV_UNROLL for (int k = 0; k < 16; k++) {
    const int at = k % 8 / 2, e = k % 2, r = k / 8;
    const float low = __shfl_sync(kFull, a[2 * r].get(e), 4 * g + at);  // of row g, of row g + 8
    const float high = __shfl_sync(kFull, a[2 * r + 1].get(e), 4 * g + at);
    const float mine = (r ? b1 : b0).get(e);
    const float even = __shfl_sync(kFull, mine, 4 * (2 * t) + at);  // of column 2 t, of column 2 t + 1
    const float odd = __shfl_sync(kFull, mine, 4 * (2 * t + 1) + at);
    c[0] = fmaf(low, even, c[0]);
    c[1] = fmaf(low, odd, c[1]);
    c[2] = fmaf(high, even, c[2]);
    c[3] = fmaf(high, odd, c[3]);
  }
}

#if defined(SKV_PLAIN_MMA)
template <class KV>
SKV_INLINE void multiply(float* c, const Pair<KV>* a, const Pair<KV>& b0, const Pair<KV>& b1) {
  multiply_plain<KV>(c, a, b0, b1);
}
#elif defined(__CUDACC__)
template <class KV>
SKV_INLINE void multiply(float* c, const Pair<KV>* a, const Pair<KV>& b0, const Pair<KV>& b1) {
  if constexpr (KV::type == SKV_F32) {
    multiply_plain<KV>(c, a, b0, b1);
  } else if constexpr (KV::type == SKV_BF16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0].word[0]), "r"(a[1].word[0]), "r"(a[2].word[0]), "r"(a[3].word[0]), "r"(b0.word[0]),
          "r"(b1.word[0]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0].word[0]), "r"(a[1].word[0]), "r"(a[2].word[0]), "r"(a[3].word[0]), "r"(b0.word[0]),
          "r"(b1.word[0]));
  }
}
#else
#include "product.hpp"  // test/emulation
#endif

#if defined(__CUDACC__)
// Where a lane points ldmatrix for rows row0 … + 15 and elements d … + 15 of two bytes: each eight lanes name a quarter's rows.
SKV_DEVICE_ONLY uint32_t quarter_address(const uint32_t* tile, int stride, int row0, int d) {
  const int lane = threadIdx.x % 32;
  return (uint32_t)__cvta_generic_to_shared(tile + (row0 + lane % 16) * stride + (d + lane / 16 * 8) / 2);
}
#endif

// The operands that a warp reads at once: rows row0 … + 15 and elements d … + 15 of a tile, as four quarters. As they lie:
// register r has rows 8 (r % 2) … and elements 8 (r / 2) …, an A of those rows, or Bs of eight rows each: {0, 2} and {1, 3}.
template <class KV>
SKV_INLINE void load_operand(Pair<KV>* a, Shared<const uint32_t> tile, int stride, int row0, int d) {
  const int lane = threadIdx.x % 32;
#if defined(__CUDACC__)
  if constexpr (KV::per_word == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0].word[0]), "=r"(a[1].word[0]), "=r"(a[2].word[0]), "=r"(a[3].word[0])
                 : "r"(quarter_address(tile, stride, row0, d)));
  } else
#endif
  SKV_UNROLL for (int r = 0; r < 4; r++)
    a[r] = pair_at<KV>(tile + (row0 + r % 2 * 8 + lane / 4) * stride, d + r / 2 * 8 + lane % 4 * 2);
}

// The same with each quarter transposed, for products over rows: Bs of eight elements each, {0, 1} and {2, 3}.
template <class KV>
SKV_INLINE void load_transposed(Pair<KV>* b, Shared<const uint32_t> tile, int stride, int row0, int d) {
  const int lane = threadIdx.x % 32;
#if defined(__CUDACC__)
  if constexpr (KV::per_word == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(b[0].word[0]), "=r"(b[1].word[0]), "=r"(b[2].word[0]), "=r"(b[3].word[0])
                 : "r"(quarter_address(tile, stride, row0, d)));
  } else
#endif
  SKV_UNROLL for (int r = 0; r < 4; r++) {
    const int column = d + r / 2 * 8 + lane / 4, row = row0 + r % 2 * 8 + lane % 4 * 2;
    uint32_t word[2] = {tile[row * stride + column / KV::per_word], tile[(row + 1) * stride + column / KV::per_word]};
    if (KV::per_word == 2) {
      const int shift = column % 2 * 16;
      b[r].word[0] = (word[0] >> shift & 0xffff) | (word[1] >> shift & 0xffff) << 16;
    } else {
      b[r].word[0] = word[0];
      b[r].word[2 / KV::per_word - 1] = word[1];
    }
  }
}
