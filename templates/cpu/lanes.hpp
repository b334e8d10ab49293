// Numbers of the vectors of a page's slots, all 16 slots at once: a lane is a slot. at [dim][16 slots]
//
// Each is the sequence of operations that prelude.hpp has for one vector, so that their bits are the same: sixteen
// partial results in the order of the dims, then a tree.
#pragma once
#include "fused.hpp"
#include "kernels.hpp"

// next(partial, i): with element i.
template <class Next, class Join>
SKV_INLINE f32x16 over_dims(int dim, f32x16 none, Next next, Join join) {
  f32x16 partial[16];
  for (int l = 0; l < 16; l++) {
    partial[l] = none;
    for (int i = l; i < dim; i += 16) partial[l] = next(partial[l], i);
  }
  for (int l = 0; l < 8; l++) partial[l] = join(partial[l], partial[l + 8]);
  for (int l = 0; l < 4; l++) partial[l] = join(partial[l], partial[l + 4]);
  return join(join(partial[0], partial[2]), join(partial[1], partial[3]));
}

template <class Term>
SKV_INLINE void sums_of(int dim, f32x16* out, Term term) {
  known_dim(dim, [&](int dim) SKV_FLAT {
    *out = over_dims(
        dim, splat(0), [&](f32x16 sum, int i) SKV_FLAT { return sum + term(i); },
        [](f32x16 a, f32x16 b) SKV_FLAT { return a + b; });
  });
}

template <class Of>
SKV_INLINE void extremes_of(const f32x16* at, int dim, f32x16* out, float none, Of of) {
  *out = over_dims(dim, splat(none), [&](f32x16 most, int i) SKV_FLAT { return of(most, at[i]); }, of);
}

void page_dots(const f32x16* at, const float* other, int dim, f32x16* out) {
  sums_of(dim, out, [&](int i) SKV_FLAT { return at[i] * splat(other[i]); });
}
void page_norms(const f32x16* at, int dim, f32x16* out) {
  sums_of(dim, out, [&](int i) SKV_FLAT { return at[i] * at[i]; });
  for (int s = 0; s < SKV_PAGE; s++) (*out)[s] = skv_sqrt((*out)[s]);
}
void page_norms1(const f32x16* at, int dim, f32x16* out) {
  sums_of(dim, out, [&](int i) SKV_FLAT { return (f32x16)((u32x16)at[i] & 0x7fffffffu); });
}
void page_highest(const f32x16* at, int dim, f32x16* out) {
  extremes_of(at, dim, out, -INFINITY, [](f32x16 a, f32x16 b) SKV_FLAT { return b > a ? b : a; });
}
void page_lowest(const f32x16* at, int dim, f32x16* out) {
  extremes_of(at, dim, out, INFINITY, [](f32x16 a, f32x16 b) SKV_FLAT { return b < a ? b : a; });
}

// Groups of 2 W lanes of a, then of b: the halves of each added.
template <int W>
SKV_INLINE f32xN halves_added(f32xN a, f32xN b) {
  u32xN low, high;
  for (uint32_t l = 0; l < kRegister; l++) {
    low[l] = l / W * 2 * W + l % W;  // from kRegister on lanes of b
    high[l] = low[l] + W;
  }
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

// The registers m[0] … m[n - 1] folded to a sum each, in order: n / (2 W) registers of sums.
template <int W>
SKV_INLINE void fold(f32xN* m, int n) {
  for (int i = 0; i < n / 2; i++) m[i] = halves_added<W>(m[2 * i], m[2 * i + 1]);
  if constexpr (W > 1) fold<W / 2>(m, n / 2);
}

void add_page(const f32x16* at, const f32x16* factor, int slots, int dim, float* totals) {
  const Sixteen present = {(f32x16)first_lanes(slots)}, by = {*factor};
  for (int d = 0; d < dim; d += 16) {
    f32xN sums[16];  // of dim d + i, over the slots in the order of skv_tree
    for (int i = 0; i < 16; i++) {
      const Sixteen x = {at[d + i]};
      f32xN half[kRegisters];
      for (int n = 0; n < kRegisters; n++)  // absent ones 0
        half[n] = (f32xN)((u32xN)(x.reg[n] * by.reg[n]) & (u32xN)present.reg[n]);
      for (int n = kRegisters / 2; n > 0; n /= 2)
        for (int k = 0; k < n; k++) half[k] += half[k + n];
      sums[i] = half[0];
    }
    fold<kRegister / 2>(sums, 16);
    for (int n = 0; n < kRegisters; n++) *(f32xNu*)(totals + d + n * kRegister) += sums[n];
  }
}
