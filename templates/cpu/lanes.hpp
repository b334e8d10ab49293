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
SKV_INLINE f32x16 halves_added(f32x16 a, f32x16 b) {
  u32x16 low, high;
  for (uint32_t l = 0; l < 16; l++) {
    low[l] = l / W * 2 * W + l % W;  // from 16 on lanes of b
    high[l] = low[l] + W;
  }
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

// Sums over the lanes of m[0] … m[15], in the order of skv_tree.
SKV_INLINE f32x16 lane_sums(f32x16* m) {
  for (int i = 0; i < 8; i++) m[i] = halves_added<8>(m[2 * i], m[2 * i + 1]);
  for (int i = 0; i < 4; i++) m[i] = halves_added<4>(m[2 * i], m[2 * i + 1]);
  for (int i = 0; i < 2; i++) m[i] = halves_added<2>(m[2 * i], m[2 * i + 1]);
  return halves_added<1>(m[0], m[1]);
}

void add_page(const f32x16* at, const f32x16* factor, int slots, int dim, float* totals) {
  const i32x16 present = first_lanes(slots);
  for (int d = 0; d < dim; d += 16) {
    f32x16 m[16];
    for (int i = 0; i < 16; i++) m[i] = present ? at[d + i] * *factor : splat(0);
    *(f32x16u*)(totals + d) += lane_sums(m);
  }
}
