// Numbers of the vectors of a page's slots, all 16 slots at once: a lane is a slot. at(j): elements 2j and 2j + 1
//
// Each is the sequence of operations that prelude.hpp has for one vector, so that their bits are the same: sixteen
// partial results in the order of the dims, then a tree.
#pragma once
#include "fused.hpp"
#include "kernels.hpp"

// Two neighbouring elements of all slots, as keys lie in pages.
struct Two {
  f32x16 even, odd;
};

// next(partial, x, i): with element i, x.
template <class At, class Next, class Join>
SKV_INLINE f32x16 over_dims(int dim, At at, f32x16 none, Next next, Join join) {
  f32x16 partial[16];
#pragma GCC unroll 8
  for (int l = 0; l < 16; l += 2) {
    f32x16 even = none, odd = none;
#pragma GCC unroll 8
    for (int i = l; i < dim; i += 16) {
      const Two x = at(i / 2);
      even = next(even, x.even, i);
      odd = next(odd, x.odd, i + 1);
    }
    partial[l] = even;
    partial[l + 1] = odd;
  }
  for (int l = 0; l < 8; l++) partial[l] = join(partial[l], partial[l + 8]);
  for (int l = 0; l < 4; l++) partial[l] = join(partial[l], partial[l + 4]);
  return join(join(partial[0], partial[2]), join(partial[1], partial[3]));
}

template <class At, class Term>
SKV_INLINE f32x16 sums_of(int dim, At at, Term term) {
  return over_dims(
      dim, at, splat(0), [&](f32x16 sum, f32x16 x, int i) SKV_FLAT { return sum + term(x, i); },
      [](f32x16 a, f32x16 b) SKV_FLAT { return a + b; });
}

template <class At, class Of>
SKV_INLINE f32x16 extremes_of(int dim, At at, float none, Of of) {
  return over_dims(dim, at, splat(none), [&](f32x16 most, f32x16 x, int) SKV_FLAT { return of(most, x); }, of);
}

template <class At>
SKV_INLINE void answer_of(int dim, At at, Asked what, const float* other, f32x16* out) {
  switch (what) {
    case Asked::norm:
      *out = sums_of(dim, at, [](f32x16 x, int) SKV_FLAT { return x * x; });
      for (int s = 0; s < SKV_PAGE; s++) (*out)[s] = skv_sqrt((*out)[s]);
      return;
    case Asked::norm1:
      *out = sums_of(dim, at, [](f32x16 x, int) SKV_FLAT { return (f32x16)((u32x16)x & 0x7fffffffu); });
      return;
    case Asked::highest:
      *out = extremes_of(dim, at, -INFINITY, [](f32x16 a, f32x16 b) SKV_FLAT { return b > a ? b : a; });
      return;
    case Asked::lowest:
      *out = extremes_of(dim, at, INFINITY, [](f32x16 a, f32x16 b) SKV_FLAT { return b < a ? b : a; });
      return;
    case Asked::dot:
      *out = sums_of(dim, at, [&](f32x16 x, int i) SKV_FLAT { return x * splat(other[i]); });
      return;
  }
}

// sums [dim][16 slots] += pages [page], each vector times its factor; present: of a page, all ones in slots that are.
// at(vectors, j): elements 2j and 2j + 1. What is summed up stays in registers from page to page.
template <class At>
SKV_INLINE void add_some(int dim, At at, const PageTerm* page, int pages, const u32x16* present, f32x16* sums) {
  const auto term = [&](f32x16 x, f32x16 factor) SKV_FLAT {
    return present ? (f32x16)((u32x16)(x * factor) & *present) : x * factor;
  };
  for (int d = 0; d < dim; d += 16) {
    f32x16 sum[16];
    for (int i = 0; i < 16; i++) sum[i] = sums[d + i];
    for (int p = 0; p < pages; p++) {
#pragma GCC unroll 8
      for (int i = 0; i < 16; i += 2) {
        const Two x = at(page[p].vectors, (d + i) / 2);
        sum[i] += term(x.even, page[p].factor);
        sum[i + 1] += term(x.odd, page[p].factor);
      }
    }
    for (int i = 0; i < 16; i++) sums[d + i] = sum[i];
  }
}

// The same of pages of which the last has `slots` slots; nothing is known of the others.
template <class At>
SKV_INLINE void add_times(int dim, At at, const PageTerm* page, int pages, int slots, f32x16* sums) {
  const int whole = pages - (slots < SKV_PAGE);
  add_some(dim, at, page, whole, nullptr, sums);
  const u32x16 present = (u32x16)first_lanes(slots);
  if (whole < pages) add_some(dim, at, page + whole, 1, &present, sums);
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
