// The two products of attention over pages: logits = queries . keys, and out = probabilities . values.
//
//   q [row][dim / 2] pairs, scaled    keys [page][dim / 2][16 slots] pairs    logits [row][SKV_SEGMENT] f32
//   p [page][row][8] pairs of slots   values [page][8][dim] pairs             out [row][dim] f32
//
// Both walk pairs with dot(): a block of R query rows and N pages (or B x 16 dims) stays in registers, and what is read
// of a page is read once for all R rows. A row's bits do not depend on the block it runs in.
//
// Decode is bound by reading pages, prefill by dot(): dim / 2 of them per row and page for each product. The hardware
// cannot guess where the next page lies: the first rows that meet a page prefetch what follows.
#pragma once
#include <type_traits>

#include "rotate.hpp"

// Where a tile stands in its head's pages, and what it reads next, in halves of pages: the keys of a segment's pages,
// their values, the next segment's keys …
template <class KV>
struct PageCursor {
  static constexpr int kDistance = 16;  // halves between what is read and what is prefetched
  const Head<KV>& h;
  int page0, last;                   // first page of the segment; last page to read
  const PageCursor* next = nullptr;  // where the same worker goes from there
  // The j-th half from the segment's first keys on.
  const uint8_t* half(int j) const {
    if (next && j >= 2 * kSegmentPages && page0 + kSegmentPages > last) return next->half(j - 2 * kSegmentPages);
    const int page = page0 + j % kSegmentPages + j / (2 * kSegmentPages) * kSegmentPages;
    const int p = page < last ? page : last;
    return h.page(p) + (j / kSegmentPages % 2 ? h.layout().values : h.layout().keys);
  }
  const uint8_t* ahead(int j) const { return half(j + kDistance); }
  // The same, when the tile sees nothing before a page.
  PageCursor from_page(int page) const { return {h, page > page0 ? page : page0, last, next}; }
};

SKV_INLINE void prefetch(const uint8_t* at) { __builtin_prefetch(at, 0, 2); }

template <int n>
using Count = std::integral_constant<int, n>;

// logits [R][N pages x 16 slots], of rows `stride` floats apart.
template <class KV, int R, int N, bool kPrefetch>
SKV_INLINE void block_logits(const typename KV::Word* const* keys, const typename KV::Pair* q, int half, float* logits,
                             int stride, const uint8_t* const* ahead) {
  constexpr int kBytes = 32 * sizeof(typename KV::Word);  // of a page's keys, per pair of dims
  f32x16 acc[R][N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) acc[r][n] = splat(0);
  for (int j = 0; j < half; j++) {
    typename KV::Pairs pairs[N];
    for (int n = 0; n < N; n++) {
      if (kPrefetch)
        for (int b = 0; b < kBytes; b += 64) prefetch(ahead[n] + j * kBytes + b);
      pairs[n] = KV::in_register(KV::key_pairs(keys[n], j));
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const auto w = KV::broadcast(q[r * half + j]);
      for (int n = 0; n < N; n++) acc[r][n] = KV::dot(pairs[n], w, acc[r][n]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) *(f32x16*)(logits + (int64_t)r * stride + n * SKV_PAGE) = acc[r][n];
}

// Rows in blocks that fit the registers, the largest first: block(Count<R>()) takes as many as there are.
template <class Block>
SKV_INLINE void in_blocks(Block& block) {
  block(Count<6>());
  block(Count<4>());
  block(Count<3>());
  block(Count<2>());
  block(Count<1>());
}

// The same for any number of rows. With kPrefetch the first block prefetches `ahead` [N].
template <class KV, int N, bool kPrefetch>
SKV_INLINE void rows_logits(const typename KV::Word* const* keys, const typename KV::Pair* q, int rows, int half,
                            float* logits, int stride, const uint8_t* const* ahead) {
  int r = 0;
  auto block = [&](auto R) {
    for (; r + R <= rows; r += R) {
      if (kPrefetch && r == 0)
        block_logits<KV, R, N, true>(keys, q, half, logits, stride, ahead);
      else
        block_logits<KV, R, N, false>(keys, q + r * half, half, logits + (int64_t)r * stride, stride, ahead);
    }
  };
  if (N == 1) block(Count<12>());
  in_blocks(block);
}

// Whether a live slot of page p is shifted, and the shift rotates its key.
SKV_INLINE bool is_shifted(const AnyHead& h, int p, int shift_lane) {
  if (!h.inv_freq()) return false;
  int32_t any = 0;
  for (int s = 0; s < SKV_PAGE && p * SKV_PAGE + s < *h.length; s++) any |= h.lane(p, shift_lane)[s];
  return any != 0;
}

// Logits of query rows for page p, whether or not its slots are shifted. rotated [dim][16] is scratch.
template <class KV>
[[gnu::noinline]] void page_logits(const Head<KV>& h, int p, const typename KV::Pair* q, int rows, float* logits,
                                   int stride, int shift_lane, typename KV::Word* rotated) {
  const auto* keys = h.keys(p);
  if (is_shifted(h, p, shift_lane)) {
    rotated_keys(h, p, h.lane(p, shift_lane), rotated);
    keys = rotated;
  }
  rows_logits<KV, 1, false>(&keys, q, rows, h.dim / 2, logits, stride, nullptr);
}

// Logits of the segment's first pages, several at a time: [row][SKV_SEGMENT]. kShifts: there is a lane of shifts.
template <class KV, bool kPrefetch, bool kShifts>
[[gnu::noinline]] void segment_logits(const Head<KV>& h, const PageCursor<KV>& cursor, int pages,
                                      const typename KV::Pair* q, int rows, float* logits, int shift_lane,
                                      typename KV::Word* rotated) {
  const int page0 = cursor.page0;
  int i = 0;
  auto group = [&](auto N) {
    for (; i + N <= pages; i += N) {
      const typename KV::Word* keys[N];
      const uint8_t* ahead[N];
      bool shifted = false;
      for (int n = 0; n < N; n++) {
        const int p = page0 + i + n;
        keys[n] = h.keys(p);
        ahead[n] = kPrefetch ? cursor.ahead(i + n) : nullptr;
        if (kShifts) shifted |= is_shifted(h, p, shift_lane);
      }
      float* to = logits + i * SKV_PAGE;
      if (kShifts && shifted)
        for (int n = 0; n < N; n++)
          page_logits(h, page0 + i + n, q, rows, to + n * SKV_PAGE, SKV_SEGMENT, shift_lane, rotated);
      else
        rows_logits<KV, N, kPrefetch>(keys, q, rows, h.dim / 2, to, SKV_SEGMENT, ahead);
    }
  };
  group(Count<4>());
  group(Count<1>());
}

// out[r][B * 16 dims] = sum over slots of p[page][r][slot] * value[slot], pair by pair; pages of p are `pitch` pairs
// apart.
template <class KV, int R, int B, bool kPrefetch>
SKV_INLINE void block_values(const Head<KV>& h, const PageCursor<KV>& cursor, int slots, int d0,
                             const typename KV::Pair* p, int pitch, float* out, int out_stride) {
  constexpr int kBytes = 32 * sizeof(typename KV::Word);  // of two slots' values, per 16 dims
  f32x16 acc[R][B];
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) acc[r][b] = splat(0);
  const int last = (slots - 1) / SKV_PAGE;
  for (int i = 0; i <= last; i++) {
    const auto* values = h.values(cursor.page0 + i);
    const uint8_t* ahead = kPrefetch ? cursor.ahead(kSegmentPages + i) : nullptr;
    const int count = i < last ? kPagePairs : (slots - last * SKV_PAGE + 1) / 2;
    for (int s = 0; s < count; s++) {
      if (kPrefetch)
        for (int b = 0; b < B * kBytes; b += 64) prefetch(ahead + (s * h.dim + d0) / 16 * kBytes + b);
      typename KV::Pairs pairs[B];
      for (int b = 0; b < B; b++) pairs[b] = KV::in_register(KV::value_pairs(values, s, d0 + 16 * b, h.dim));
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const auto w = KV::broadcast(p[(int64_t)i * pitch + r * kPagePairs + s]);
        for (int b = 0; b < B; b++) acc[r][b] = KV::dot(pairs[b], w, acc[r][b]);
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) *(f32x16u*)(out + (int64_t)r * out_stride + d0 + 16 * b) = acc[r][b];
}

// The same for any number of rows and all dims.
template <class KV, bool kPrefetch>
[[gnu::noinline]] void segment_values(const Head<KV>& h, const PageCursor<KV>& cursor, int slots, int rows,
                                      const typename KV::Pair* p, int pitch, float* out, int stride) {
  int d = 0;
  auto dims = [&](auto B) {
    for (; d + 16 * B <= h.dim; d += 16 * B) {
      int r = 0;
      auto block = [&](auto R) {
        for (; r + R <= rows; r += R) {
          if (kPrefetch && r == 0)
            block_values<KV, R, B, true>(h, cursor, slots, d, p, pitch, out, stride);
          else
            block_values<KV, R, B, false>(h, cursor, slots, d, p + r * kPagePairs, pitch, out + (int64_t)r * stride,
                                          stride);
        }
      };
      in_blocks(block);
    }
  };
  dims(Count<4>());
  dims(Count<1>());
}
