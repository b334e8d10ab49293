// Numbers of the vectors of a page's slots, a register of slots at a time: a lane is a slot.
//
// Each is the sequence of operations that prelude.hpp has for one vector, so that their bits are the same: sixteen
// partial results in the order of the dims, then a tree.
#pragma once
#include "fused.hpp"
#include "kernels.hpp"

// at(j): elements 2j and 2j + 1. next(partial, x, i): with element i, x.
template <class At, class Next, class Join>
SKV_INLINE f32xN over_dims(int dim, At at, f32xN none, Next next, Join join) {
  const auto partials = [&](int l) SKV_FLAT {  // of elements l and l + 1 of sixteen
    Two both = {none, none};
#pragma GCC unroll 8
    for (int i = l; i < dim; i += 16) {
      const Two x = at(i / 2);
      both.even = next(both.even, x.even, i);
      both.odd = next(both.odd, x.odd, i + 1);
    }
    return both;
  };
  f32xN eight[8];
#pragma GCC unroll 4
  for (int l = 0; l < 8; l += 2) {
    const Two low = partials(l), high = partials(l + 8);
    eight[l] = join(low.even, high.even);
    eight[l + 1] = join(low.odd, high.odd);
  }
  for (int l = 0; l < 4; l++) eight[l] = join(eight[l], eight[l + 4]);
  return join(join(eight[0], eight[2]), join(eight[1], eight[3]));
}

// at(j, n): elements 2j and 2j + 1 of the slots of register n.
template <class At>
SKV_INLINE void answer_of(int dim, At at, Asked what, const float* other, f32x16* out) {
  auto* answer = (Sixteen*)out;
  const auto all = [&](float none, auto next, auto join) SKV_FLAT {
#pragma GCC unroll 1
    for (int n = 0; n < kRegisters; n++)
      answer->reg[n] = over_dims(dim, [&](int j) SKV_FLAT { return at(j, n); }, splat<f32xN>(none), next, join);
  };
  const auto sums = [&](auto term) SKV_FLAT {
    all(
        0, [&](f32xN sum, f32xN x, int i) SKV_FLAT { return sum + term(x, i); },
        [](f32xN a, f32xN b) SKV_FLAT { return a + b; });
  };
  const auto extremes = [&](float none, auto of)
                            SKV_FLAT { all(none, [&](f32xN most, f32xN x, int) SKV_FLAT { return of(most, x); }, of); };
  switch (what) {
    case Asked::norm:
      sums([](f32xN x, int) SKV_FLAT { return x * x; });
      for (int s = 0; s < SKV_PAGE; s++) (*out)[s] = skv_sqrt((*out)[s]);
      return;
    case Asked::norm1:
      return sums([](f32xN x, int) SKV_FLAT { return (f32xN)((u32xN)x & 0x7fffffffu); });
    case Asked::highest:
      return extremes(-INFINITY, [](f32xN a, f32xN b) SKV_FLAT { return b > a ? b : a; });
    case Asked::lowest:
      return extremes(INFINITY, [](f32xN a, f32xN b) SKV_FLAT { return b < a ? b : a; });
    case Asked::dot:
      return sums([&](f32xN x, int i) SKV_FLAT { return x * splat<f32xN>(other[i]); });
  }
}

constexpr int kSums = kRegister == 16 ? 16 : 8;  // of dims, in registers from page to page

// sums [dim][16 slots] += pages [page], each vector times its factor; present: of a page, all ones in slots that are.
// at(vectors, j, n): elements 2j and 2j + 1 of the slots of register n.
template <class At>
SKV_INLINE void add_some(int dim, At at, const PageTerm* page, int pages, const Sixteen* present, f32x16* sums) {
  auto* to = (Sixteen*)sums;
  for (int n = 0; n < kRegisters; n++)
    for (int d = 0; d < dim; d += kSums) {
      f32xN sum[kSums];
      for (int i = 0; i < kSums; i++) sum[i] = to[d + i].reg[n];
      for (int p = 0; p < pages; p++) {
        const f32xN factor = ((const Sixteen*)&page[p].factor)->reg[n];
        const auto term = [&](f32xN x) SKV_FLAT {
          return present ? (f32xN)((u32xN)(x * factor) & (u32xN)present->reg[n]) : x * factor;
        };
#pragma GCC unroll 8
        for (int i = 0; i < kSums; i += 2) {
          const Two x = at(page[p], (d + i) / 2, n);
          sum[i] += term(x.even);
          sum[i + 1] += term(x.odd);
        }
      }
      for (int i = 0; i < kSums; i++) to[d + i].reg[n] = sum[i];
    }
}

// The same of pages of which the last has `slots` slots; nothing is known of the others.
template <class At>
SKV_INLINE void add_times(int dim, At at, const PageTerm* page, int pages, int slots, f32x16* sums) {
  const int whole = pages - (slots < SKV_PAGE);
  add_some(dim, at, page, whole, nullptr, sums);
  const Sixteen present = {(f32x16)first_lanes(slots)};
  if (whole < pages) add_some(dim, at, page + whole, 1, &present, sums);
}

// Half number `half` of each group of 2 W lanes.
template <int W, int half>
struct Half {
  static constexpr uint32_t of(uint32_t l) { return (l / W * 2 + half) * W + l % W; }
};

// Groups of 2 W lanes of a, then of b: the halves of each added.
template <int W>
SKV_INLINE f32xN halves_added(f32xN a, f32xN b) {
  const Shuffle<f32xN, Half<W, 0>> first;
  const Shuffle<f32xN, Half<W, 1>> second;
  return first(a, b) + second(a, b);
}

// The registers m[0] … m[n - 1] folded to a sum each, in order: n / (2 W) registers of sums.
template <int W>
SKV_INLINE void fold(f32xN* m, int n) {
  for (int i = 0; i < n / 2; i++) m[i] = halves_added<W>(m[2 * i], m[2 * i + 1]);
  if constexpr (W > 1) fold<W / 2>(m, n / 2);
}
