// The two products of attention over pages: logits = queries . keys, and out = probabilities . values.
//
//   q [row][dim / 2] multipliers, scaled    keys [page][dim / 2][16 slots] pairs    logits [row][SKV_SEGMENT] f32
//   p [page][row][8] multipliers            values [page][8][dim] pairs             out [row][dim] f32
//
// Both walk pairs with dot(): a block of R query rows and N pages (or N x 16 dims) stays in registers, as many as the
// machine has (kAccumulators), and what is read of a page is read once for all R rows. A row's bits do not depend on
// the block it runs in.
//
// Decode is bound by reading pages, prefill by dot(): dim / 2 of them per row and page for each product. The hardware
// cannot guess where the next page lies: the first rows that meet a page prefetch what follows.
#pragma once
#include "rotate.hpp"
#include "products_amx.hpp"

// A block's sums, in registers: some of the machine's are left for operands. And how many pages, or times 16 dims, a
// block has where its rows leave room: more sums that do not wait for each other, and fewer broadcasts.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisterFile = 32;
#else
constexpr int kRegisterFile = 16;
#endif
constexpr int kAccumulators = kRegisterFile * 3 / 4;
constexpr int kBlockMost = 6, kTogether = kRegister == 16 ? 4 : 2;

// How many pairs a block takes at a time.
template <class KV, int R>
constexpr int kPairs = KV::kMatrices && R > 1 ? 2 : 1;

// A block's sums: [R rows][M registers] of N pages, or N times 16 dims.
template <class KV, int R, int N>
struct Block {
  static constexpr int M = N * kRegisters;
  // Operands of a term that wait for all rows, beside a multiplier and one more: all, or those of a page or 16 dims.
  static constexpr int kHeld = R * M + M + 2 <= kRegisterFile ? M : kRegisters;
  f32xN acc[R][M];
  Block() {
    for (int r = 0; r < R; r++)
      for (int m = 0; m < M; m++) acc[r][m] = f32xN{};
  }
  // acc[r][m] += operand(m, term) * multiplier(r, term)
  template <class Operand, class Multiplier>
  SKV_FLAT void add(Operand operand, Multiplier multiplier) {
#pragma GCC unroll 2
    for (int term = 0; term < KV::kTerms; term++)
#pragma GCC unroll 8
      for (int m = 0; m < M; m += kHeld) {
        typename KV::Operand held[kHeld];
        for (int i = 0; i < kHeld; i++) held[i] = operand(m + i, term);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
          const auto w = multiplier(r, term);
          for (int i = 0; i < kHeld; i++) {
            auto& sum = acc[r][m + i];
            sum = KV::dot(held[i], w, sum);
            if (kRegisterFile < 32) sum = in_register(sum);
          }
        }
        if (kHeld < M) asm volatile("" ::: "memory");  // reads multipliers again: no registers are left for them
      }
  }
  // The same for two pairs, operands (m, 0) and (m, 1), where the machine multiplies matrices: two rows at a time,
  // whose sums lie mixed until they are stored.
  template <class Operand, class Multipliers>
  SKV_FLAT void add_two(Operand operand, Multipliers multipliers) {
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const auto a = operand(m, 0), b = operand(m, 1);
#pragma GCC unroll 8
      for (int r = 0; r < R; r += 2)
        if (r + 1 < R)
          KV::multiply(acc[r][m], acc[r + 1][m], multipliers(r), multipliers(r + 1), a, b);
        else
          acc[r][m] = KV::dot_two(a, b, multipliers(r), acc[r][m]);
    }
  }
  // of rows `stride` floats apart
  SKV_FLAT void store(float* out, int64_t stride) {
    if constexpr (kPairs<KV, R> == 2)
      for (int r = 0; r + 1 < R; r += 2)
        for (int m = 0; m < M; m++) KV::sort(acc[r][m], acc[r + 1][m]);
    for (int r = 0; r < R; r++)
      for (int m = 0; m < M; m++) *(f32xNu*)(out + r * stride + m * kRegister) = acc[r][m];
  }
};

// logits [R][N pages x 16 slots], of rows `stride` floats apart.
template <class KV, int R, int N, bool kPrefetch>
SKV_INLINE void block_logits(const typename KV::Word* const* keys, const typename KV::Multiplier* q, int half,
                             float* logits, int stride, const uint8_t* const* ahead) {
  constexpr int kBytes = 32 * sizeof(typename KV::Word);  // of a page's keys, per pair of dims
  Block<KV, R, N> block;
  for (int j = 0; j < half; j += kPairs<KV, R>) {
    if (kPrefetch)
      for (int n = 0; n < N; n++)
        for (int b = 0; b < kBytes * kPairs<KV, R>; b += 64) prefetch(ahead[n] + j * kBytes + b);
    if constexpr (kPairs<KV, R> == 2)
      block.add_two(
          [&](int m, int k)
              SKV_FLAT { return KV::key_operand(keys[m / kRegisters], j + k, m % kRegisters * kRegister, 0); },
          [&](int r) SKV_FLAT { return KV::two(q + r * half + j); });
    else
      block.add([&](int m, int term)
                    SKV_FLAT { return KV::key_operand(keys[m / kRegisters], j, m % kRegisters * kRegister, term); },
                [&](int r, int term) SKV_FLAT { return KV::broadcast(q[r * half + j], term); });
  }
  block.store(logits, stride);
}

// Rows in blocks whose sums fit the registers, N pages or times 16 dims wide: as few as do, and nearly equal, for sums
// of a small block wait for each other. block(Count<R>()) takes as many as there are.
template <int N, class Block>
SKV_INLINE void in_blocks(int rows, Block& block) {
  constexpr int kMost = std::min(kAccumulators / (N * kRegisters), 12);
  const int blocks = (rows + kMost - 1) / kMost, most = (rows + blocks - 1) / blocks;
  auto fitting = [&](auto R) SKV_FLAT {
    if constexpr (R <= kMost)
      if (R <= most) block(R);
  };
  fitting(Count<12>());
  fitting(Count<6>());
  fitting(Count<5>());
  fitting(Count<4>());
  fitting(Count<3>());
  fitting(Count<2>());
  block(Count<1>());
}

// Whether blocks of these rows leave room for kTogether pages, or times 16 dims.
SKV_INLINE bool together(int rows) { return std::min(rows, kBlockMost) * kTogether * kRegisters <= kAccumulators; }

// The same for any number of rows. With kPrefetch the first block prefetches `ahead` [N].
template <class KV, int N, bool kPrefetch>
SKV_INLINE void rows_logits(const typename KV::Word* const* keys, const typename KV::Multiplier* q, int rows, int half,
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
  if constexpr (KV::kAmx)
    amx_logits<KV, N, kPrefetch>(keys, q, half, logits, stride, ahead);
  else
    in_blocks<N>(rows, block);
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
[[gnu::noinline]] void page_logits(const Head<KV>& h, int p, const typename KV::Multiplier* q, int rows, float* logits,
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
                                      const typename KV::Multiplier* q, int rows, float* logits, int shift_lane,
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
  if (together(rows)) group(Count<kTogether>());
  group(Count<1>());
}

// out[r][N * 16 dims] = sum over slots of p[page][r][slot] * value[slot], pair by pair; pages of p are `pitch`
// multipliers apart.
template <class KV, int R, int N, bool kPrefetch>
SKV_INLINE void block_values(const Head<KV>& h, const PageCursor<KV>& cursor, int slots, int d0,
                             const typename KV::Multiplier* p, int pitch, float* out, int out_stride) {
  constexpr int kBytes = 32 * sizeof(typename KV::Word);  // of two slots' values, per 16 dims
  const int dim = h.dim;
  Block<KV, R, N> block;
  const int last = (slots - 1) / SKV_PAGE;
  for (int i = 0; i <= last; i++) {
    const auto* values = h.values(cursor.page0 + i);
    const uint8_t* ahead = kPrefetch ? cursor.ahead(kSegmentPages + i) : nullptr;
    const int count = i < last ? kPagePairs : (slots - last * SKV_PAGE + 1) / 2;
    for (int s = 0; s < count; s += kPairs<KV, R>) {
      if (kPrefetch)
        for (int k = 0; k < kPairs<KV, R>; k++)
          for (int b = 0; b < N * kBytes; b += 64) prefetch(ahead + ((s + k) * dim + d0) / 16 * kBytes + b);
      if constexpr (kPairs<KV, R> == 2) {
        const bool both = s + 1 < count;  // what lies in a pair that does not count may be no number
        block.add_two(
            [&](int m, int k) SKV_FLAT {
              return k && !both ? typename KV::Operand{} : KV::value_operand(values, s + k, d0 + m * kRegister, dim, 0);
            },
            [&](int r) SKV_FLAT {
              const auto* of = p + (int64_t)i * pitch + r * kPagePairs + s;
              return both ? KV::two(of) : KV::one(of);
            });
      } else {
        block.add([&](int m, int term) SKV_FLAT { return KV::value_operand(values, s, d0 + m * kRegister, dim, term); },
                  [&](int r, int term)
                      SKV_FLAT { return KV::broadcast(p[(int64_t)i * pitch + r * kPagePairs + s], term); });
      }
    }
  }
  block.store(out + d0, out_stride);
}

// The same for any number of rows and all dims.
template <class KV, bool kPrefetch>
[[gnu::noinline]] void segment_values(const Head<KV>& h, const PageCursor<KV>& cursor, int slots, int rows,
                                      const typename KV::Multiplier* p, int pitch, float* out, int stride) {
  int d = 0;
  auto dims = [&](auto N) {
    for (; d + 16 * N <= h.dim; d += 16 * N) {
      int r = 0;
      auto block = [&](auto R) {
        for (; r + R <= rows; r += R) {
          if (kPrefetch && r == 0)
            block_values<KV, R, N, true>(h, cursor, slots, d, p, pitch, out, stride);
          else
            block_values<KV, R, N, false>(h, cursor, slots, d, p + r * kPagePairs, pitch, out + (int64_t)r * stride,
                                          stride);
        }
      };
      if constexpr (KV::kAmx)
        amx_values<KV, N, kPrefetch>(h, cursor, slots, d, p, pitch, out, stride);
      else
        in_blocks<N>(rows, block);
    }
  };
  if (together(rows)) dims(Count<kTogether>());
  dims(Count<1>());
}
