// The two products of attention over pages: logits = queries . keys, and out = probabilities . values.
//
// Both walk Lines with dot(): a block of R query rows and N pages (or B x 16 dims) stays in registers, each line is
// read once for all R rows. A row's bits do not depend on the block it runs in. On scattered pages the hardware cannot
// guess what comes next: the first rows that meet a page call what follows into the cache.
#pragma once
#include <type_traits>

#include "turns.hpp"

constexpr int kSegmentPages = SKV_SEGMENT / SKV_PAGE, kPagePairs = SKV_PAGE / 2;

// The way of queries over their pages: the keys of a segment's pages, their values, the next segment's keys …
template <class KV>
struct Way {
  static constexpr int kAhead = 16;
  const Head<KV>& h;
  int page0, last;            // first page of the segment; the last page of this way
  const Way* then = nullptr;  // where the same worker goes from there
  // Half j counted from the segment's first keys.
  const uint8_t* half(int j) const {
    if (then && j >= 2 * kSegmentPages && page0 + kSegmentPages > last) return then->half(j - 2 * kSegmentPages);
    const int p = page0 + j % kSegmentPages + j / (2 * kSegmentPages) * kSegmentPages;
    const uint8_t* page = h.page(p < last ? p : last);
    return page + (j / kSegmentPages % 2 ? h.layout().values : h.layout().keys);
  }
  const uint8_t* ahead(int j) const { return half(j + kAhead); }
};
SKV_INLINE void call(const uint8_t* at) { __builtin_prefetch(at, 0, 2); }

template <int n>
using Count = std::integral_constant<int, n>;

// logits[r][N pages x slots]; q [R][dim / 2] is scaled already.
template <class KV, int R, int N, bool kAhead>
SKV_INLINE void page_logits(const typename KV::Word* const* keys, const typename KV::Pair* q, int half, float* logits,
                            int stride, const uint8_t* const* ahead) {
  constexpr int kBytes = 32 * sizeof(typename KV::Word);  // of a page's keys, per pair of dims
  f32x16 acc[R][N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) acc[r][n] = splat(0);
  for (int j = 0; j < half; j++) {
    typename KV::Line line[N];
    for (int n = 0; n < N; n++) {
      if (kAhead)
        for (int b = 0; b < kBytes; b += 64) call(ahead[n] + j * kBytes + b);
      line[n] = KV::hold(KV::key_line(keys[n], j));
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const auto w = KV::spread(q[r * half + j]);
      for (int n = 0; n < N; n++) acc[r][n] = KV::dot(line[n], w, acc[r][n]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) *(f32x16*)(logits + (int64_t)r * stride + n * SKV_PAGE) = acc[r][n];
}

// The same for any number of rows, in blocks that fit the registers. With kAhead the first block calls the pages.
template <class KV, int N, bool kAhead>
SKV_INLINE void rows_logits(const typename KV::Word* const* keys, const typename KV::Pair* q, int rows, int half,
                            float* logits, int stride, const uint8_t* const* ahead) {
  int r = 0;
  auto block = [&](auto R) {
    for (; r + R <= rows; r += R) {
      if (kAhead && r == 0)
        page_logits<KV, R, N, true>(keys, q, half, logits, stride, ahead);
      else
        page_logits<KV, R, N, false>(keys, q + r * half, half, logits + (int64_t)r * stride, stride, ahead);
    }
  };
  if (N == 1) block(Count<12>());
  block(Count<6>()), block(Count<4>()), block(Count<3>()), block(Count<2>()), block(Count<1>());
}

// Whether a live slot of page p is shifted.
template <class P, class KV>
SKV_INLINE bool is_shifted(const Head<KV>& h, int p) {
  if (!P::shift_lane) return false;
  int32_t any = 0;
  for (int s = 0; s < SKV_PAGE && p * SKV_PAGE + s < *h.length; s++) any |= h.lane(p, P::shift_lane)[s];
  return any != 0;
}

// Logits of query rows for page p, whether or not its slots are shifted. turned [dim][16] is scratch.
template <class P, class KV>
[[gnu::noinline]] void logits_of(const Head<KV>& h, int p, const typename KV::Pair* q, int rows, float* logits,
                                 int stride, typename KV::Word* turned) {
  const auto* keys = h.keys(p);
  if (is_shifted<P>(h, p)) turned_keys(h, p, h.lane(p, P::shift_lane), turned), keys = turned;
  rows_logits<KV, 1, false>(&keys, q, rows, h.dim / 2, logits, stride, nullptr);
}

// Logits of pages [page0, page0 + pages), several at a time: [row][SKV_SEGMENT].
template <class P, class KV, bool kAhead>
[[gnu::noinline]] void segment_logits(const Head<KV>& h, const Way<KV>& way, int pages, const typename KV::Pair* q,
                                      int rows, float* logits, typename KV::Word* turned) {
  const int page0 = way.page0;
  int i = 0;
  auto group = [&](auto N) {
    for (; i + N <= pages; i += N) {
      const typename KV::Word* keys[N];
      const uint8_t* ahead[N];
      bool shifted = false;
      for (int n = 0; n < N; n++) {
        const int p = page0 + i + n;
        keys[n] = h.keys(p), ahead[n] = kAhead ? way.ahead(i + n) : nullptr;
        shifted |= is_shifted<P>(h, p);
      }
      float* to = logits + i * SKV_PAGE;
      if (shifted)
        for (int n = 0; n < N; n++) logits_of<P>(h, page0 + i + n, q, rows, to + n * SKV_PAGE, SKV_SEGMENT, turned);
      else
        rows_logits<KV, N, kAhead>(keys, q, rows, h.dim / 2, to, SKV_SEGMENT, ahead);
    }
  };
  group(Count<4>()), group(Count<1>());
}

// out[r][B * 16 dims] = sum over slots of p[page][r][slot] * value[slot], pair by pair; pages of p are `pitch` pairs
// apart.
template <class KV, int R, int B, bool kAhead>
SKV_INLINE void weigh(const Head<KV>& h, const Way<KV>& way, int slots, int d0, const typename KV::Pair* p, int pitch,
                      float* out, int out_stride) {
  constexpr int kBytes = 32 * sizeof(typename KV::Word);  // of two slots' values, per 16 dims
  f32x16 acc[R][B];
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) acc[r][b] = splat(0);
  const int last = (slots - 1) / SKV_PAGE;
  for (int i = 0; i <= last; i++) {
    const auto* values = h.values(way.page0 + i);
    const uint8_t* ahead = kAhead ? way.ahead(kSegmentPages + i) : nullptr;
    const int pairs = i < last ? kPagePairs : (slots - last * SKV_PAGE + 1) / 2;
    for (int s = 0; s < pairs; s++) {
      if (kAhead)
        for (int b = 0; b < B * kBytes; b += 64) call(ahead + (s * h.dim + d0) / 16 * kBytes + b);
      typename KV::Line line[B];
      for (int b = 0; b < B; b++) line[b] = KV::hold(KV::value_line(values, s, d0 + 16 * b, h.dim));
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const auto w = KV::spread(p[(int64_t)i * pitch + r * kPagePairs + s]);
        for (int b = 0; b < B; b++) acc[r][b] = KV::dot(line[b], w, acc[r][b]);
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) *(f32x16u*)(out + (int64_t)r * out_stride + d0 + 16 * b) = acc[r][b];
}

// The same for any number of rows and all dims.
template <class KV, bool kAhead>
[[gnu::noinline]] void weigh_rows(const Head<KV>& h, const Way<KV>& way, int slots, int rows,
                                  const typename KV::Pair* p, int pitch, float* out, int stride) {
  int d = 0;
  auto dims = [&](auto B) {
    for (; d + 16 * B <= h.dim; d += 16 * B) {
      int r = 0;
      auto block = [&](auto R) {
        for (; r + R <= rows; r += R) {
          if (kAhead && r == 0)
            weigh<KV, R, B, true>(h, way, slots, d, p, pitch, out, stride);
          else
            weigh<KV, R, B, false>(h, way, slots, d, p + r * kPagePairs, pitch, out + (int64_t)r * stride, stride);
        }
      };
      block(Count<6>()), block(Count<4>()), block(Count<3>()), block(Count<2>()), block(Count<1>());
    }
  };
  dims(Count<4>()), dims(Count<1>());
}
