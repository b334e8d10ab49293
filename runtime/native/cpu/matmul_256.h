/* Dense products in registers of 256 bits, for processors with AVX2 and FMA and, better, a dot product of bytes (VNNI).
 * A tile is one row group × 4 tokens or 1, in registers from its first column to its last: the 16 rows are two
 * registers h of 8 for each token.
 *
 *   in    w: packed rows (packed.h), read from memory once a panel of 32 tokens
 *         a: activations of tokens [token0, token1): f32 [token][stride] and int8 [token][pair][64], with the scale and
 *            sums of each pair (matmul.h), which stay in the first-level cache while the row groups pass over them
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by memory for few tokens; for many by arithmetic: where no instruction adds four products of bytes to 32
 *     bits, bytes are widened (Q8) or added in pairs first (the others)
 *
 * Included by one file for each set of flags; all of it is that file's own, so that no other is compiled for AVX2. */
#ifndef SKV_MATMUL_256_H
#define SKV_MATMUL_256_H
#include "matmul.h"

#include <cpuid.h>
#include <immintrin.h>

#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))
#define SKV_VNNI
#endif

namespace skv {
namespace {

/* Eight f16 as f32. */
inline __m256 halves(const void* at) { return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(at))); }

inline __m256i load(const void* at) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(at)); }

inline __m256i and_bits(__m256i a, int mask) { return _mm256_and_si256(a, _mm256_set1_epi8(char(mask))); }

/* Vector j of block b, rows 8h … 8h + 7: bytes as packed, without the format's zero. */
template <class Pair>
inline __m256i nibbles(const Pair& pair, int b, int j, int h) {
  const __m256i both = load(pair.w[b][j % 4][8 * h]);
  return and_bits(j < 4 ? both : _mm256_srli_epi16(both, 4), 15);
}
/* Bits 2k and 2k + 1 of each byte, as its bits 0 and 1 times 2^up. */
inline __m256i twos(__m256i bits, int k, int up) {
  const int right = 2 * k - up;
  return and_bits(right > 0 ? _mm256_srli_epi16(bits, right) : _mm256_slli_epi16(bits, -right), 3 << up);
}
inline __m256i vector_of(const Q4Pair& pair, int b, int j, int h) { return nibbles(pair, b, j, h); }
inline __m256i vector_of(const Q5Pair& pair, int b, int j, int h) {
  const __m256i bits = load(pair.high[b][8 * h]);
  const __m256i fifth = and_bits(j > 4 ? _mm256_srli_epi16(bits, j - 4) : _mm256_slli_epi16(bits, 4 - j), 16);
  return _mm256_or_si256(nibbles(pair, b, j, h), fifth);
}
inline __m256i vector_of(const Q2Pair& pair, int b, int j, int h) {
  return twos(load(pair.w[b][j / 4][8 * h]), j % 4, 0);
}
inline __m256i vector_of(const Q6Pair& pair, int b, int j, int h) {
  return _mm256_or_si256(nibbles(pair, b, j, h), twos(load(pair.high[b][j / 4][8 * h]), j % 4, 4));
}
inline __m256i vector_of(const Q8Pair& pair, int b, int j, int h) { return load(pair.w[b][j][8 * h]); }

/* Inputs 4j … 4j + 3 of a block, for each of 8 rows. */
inline __m256i inputs(const int8_t* q, int j) { return _mm256_set1_epi32(reinterpret_cast<const int32_t*>(q)[j]); }

/* dots [token][h] = what the zero of w adds, `offset` [token], plus the dot products of the span of block b that begins
 * at input i with each token's q [kBlock], rows 8h … 8h + 7; exact. Both halves of the rows at once: inputs are
 * broadcast once, and need not be kept for the other half, for which there are not registers enough. */
#if defined(SKV_VNNI)
inline __m256i dot4(__m256i acc, __m256i w, __m256i x4) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(acc, w, x4);
#else
  return _mm256_dpbusd_epi32(acc, w, x4);
#endif
}

template <int T, class Pair>
inline void span_dots(const Pair& pair, int b, int i, const int8_t* const* q, const int32_t* offset,
                      __m256i (*dots)[2]) {
  for (int t = 0; t < T; t++) dots[t][0] = dots[t][1] = _mm256_set1_epi32(offset[t]);
#pragma GCC unroll 8
  for (int j = i / 4; j < (i + Pair::kSpan) / 4; j++) {
    const __m256i w[2] = {vector_of(pair, b, j, 0), vector_of(pair, b, j, 1)};
    for (int t = 0; t < T; t++) {
      const __m256i x = inputs(q[t], j);
      for (int h = 0; h < 2; h++) dots[t][h] = dot4(dots[t][h], w[h], x);
    }
  }
}
#else
/* A sum, in a register, now: GCC would rather keep its terms in memory and add them in another order. */
inline __m256i in_register(__m256i sum) {
  asm("" : "+x"(sum));
  return sum;
}

/* Products of bytes are added in pairs to 16 bits, and as many of those as fit before they are widened. */
template <int T, class Pair>
inline void span_dots(const Pair& pair, int b, int i, const int8_t* const* q, const int32_t* offset,
                      __m256i (*dots)[2]) {
  constexpr int kFit = 32767 / (2 * 127 * Pair::kMost);
  static_assert(kFit >= 1, "two products must fit 16 bits");
  for (int t = 0; t < T; t++) dots[t][0] = dots[t][1] = _mm256_set1_epi32(offset[t]);
#pragma GCC unroll 8
  for (int j = i / 4, end = (i + Pair::kSpan) / 4; j < end; j += kFit) {
    __m256i narrow[T][2];
    for (int t = 0; t < T; t++) narrow[t][0] = narrow[t][1] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int k = j; k < j + kFit && k < end; k++) {
      const __m256i w[2] = {vector_of(pair, b, k, 0), vector_of(pair, b, k, 1)};
      for (int t = 0; t < T; t++) {
        const __m256i x = inputs(q[t], k);
        for (int h = 0; h < 2; h++)
          narrow[t][h] = in_register(_mm256_add_epi16(narrow[t][h], _mm256_maddubs_epi16(w[h], x)));
      }
    }
    for (int t = 0; t < T; t++)
      for (int h = 0; h < 2; h++)
        dots[t][h] = _mm256_add_epi32(dots[t][h], _mm256_madd_epi16(narrow[t][h], _mm256_set1_epi16(1)));
  }
}

/* The same for Q8, whose products fill 16 bits: vpmaddubsw would saturate, so bytes are widened first, even and odd
 * inputs apart. */
template <int T>
inline void span_dots(const Q8Pair& pair, int b, int, const int8_t* const* q, const int32_t* offset,
                      __m256i (*dots)[2]) {
  const __m256i mask = _mm256_set1_epi16(255);
  for (int t = 0; t < T; t++) dots[t][0] = dots[t][1] = _mm256_set1_epi32(offset[t]);
  for (int j = 0; j < 8; j++) {
    const __m256i w[2] = {vector_of(pair, b, j, 0), vector_of(pair, b, j, 1)};
    for (int t = 0; t < T; t++) {
      const __m256i x = inputs(q[t], j);
      const __m256i x_even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), x_odd = _mm256_srai_epi16(x, 8);
      for (int h = 0; h < 2; h++) {
        const __m256i w_even = _mm256_and_si256(w[h], mask), w_odd = _mm256_srli_epi16(w[h], 8);
        dots[t][h] = in_register(_mm256_add_epi32(dots[t][h], _mm256_madd_epi16(w_even, x_even)));
        dots[t][h] = in_register(_mm256_add_epi32(dots[t][h], _mm256_madd_epi16(w_odd, x_odd)));
      }
    }
  }
}
#endif

/* What the zero of a span's w adds. */
template <class Pair>
inline int32_t offset_of(const Pair&, const Int8Pairs&, size_t, int, int) {
  return 0;
}
inline int32_t offset_of(const Q6Pair&, const Int8Pairs& x, size_t at, int b, int i) {
  return x.half_offset[at * 4 + 2 * b + i / 16];
}
inline int32_t offset_of(const Q8Pair&, const Int8Pairs& x, size_t at, int b, int) { return x.offset[at * 2 + b]; }

/* What minima add to a pair's products, rows 8h … 8h + 7; `at`: token's pair. */
template <class Pair>
inline __m256 min_term(const Pair& pair, const Int8Pairs& x, size_t at, int h) {
  const int32_t sums = reinterpret_cast<const int32_t*>(x.sum)[at];
  return _mm256_cvtepi32_ps(_mm256_madd_epi16(load(pair.m[8 * h]), _mm256_set1_epi32(sums)));
}
inline __m256 min_term(const Q2Pair& pair, const Int8Pairs& x, size_t at, int h) {
  const int32_t* sums = reinterpret_cast<const int32_t*>(x.half_sum) + 2 * at;
  const __m256i first = _mm256_madd_epi16(load(pair.m[0][8 * h]), _mm256_set1_epi32(sums[0]));
  const __m256i second = _mm256_madd_epi16(load(pair.m[1][8 * h]), _mm256_set1_epi32(sums[1]));
  return _mm256_cvtepi32_ps(_mm256_add_epi32(first, second));
}
inline __m256 min_term(const Q6Pair&, const Int8Pairs&, size_t, int) { return _mm256_setzero_ps(); }
inline __m256 min_term(const Q8Pair&, const Int8Pairs&, size_t, int) { return _mm256_setzero_ps(); }

/* acc [token][h] += products of a pair with inputs of T tokens. `at`: the first's pair; the next one's is `step` on. */
template <int T, class Pair>
inline void add_pair(__m256 (*acc)[2], const Pair& pair, const Int8Pairs& x, size_t at, size_t step) {
  __m256 sum[T][2];
  for (int t = 0; t < T; t++)
    for (int h = 0; h < 2; h++) sum[t][h] = min_term(pair, x, at + t * step, h);
#pragma GCC unroll 2
  for (int b = 0; b < 2; b++)
#pragma GCC unroll 2
    for (int i = 0; i < kBlock; i += Pair::kSpan) { /* unrolled: shifts by constants */
      const int8_t* q[T];
      int32_t offset[T];
      for (int t = 0; t < T; t++) {
        q[t] = x.q + (at + t * step) * kPair + b * kBlock;
        offset[t] = offset_of(pair, x, at + t * step, b, i);
      }
      __m256i dots[T][2];
      span_dots<T>(pair, b, i, q, offset, dots);
      for (int h = 0; h < 2; h++) {
        const __m256 d = halves(scales_of(pair, b, i) + 8 * h);
        for (int t = 0; t < T; t++) sum[t][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[t][h]), d, sum[t][h]);
      }
    }
  for (int t = 0; t < T; t++) {
    const __m256 scale = _mm256_set1_ps(x.scale[at + t * step]);
    for (int h = 0; h < 2; h++) acc[t][h] = _mm256_fmadd_ps(sum[t][h], scale, acc[t][h]);
  }
}

/* A tile of tokens [t0, t0 + T): acc [token][h] += products of all pairs, then of the fine terms that its tokens have.
 */
template <int T, class Pair>
inline void quantised_tile(const Matrix& w, const Activations& a, const Pair* pair, int t0, __m256 (*acc)[2]) {
  const int pairs = pairs_of(w.cols);
  const size_t first = size_t(t0) * pairs;
  for (int k = 0; k < pairs; k++) add_pair<T>(acc, pair[k], a.coarse, first + k, pairs);
  each_fine_pair(a, t0, T, [&](int k) { add_pair<T>(acc, pair[k], a.fine, first + k, pairs); });
}

/* 2^e of 8 rows. */
inline __m256 power(const int8_t* e) {
  const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(e)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(wide, _mm256_set1_epi32(127)), 23));
}

/* Column c of a group without blocks, rows 8h … 8h + 7, as f32. */
inline __m256 weights(Format format, const uint8_t* group, int c, int h) {
  if (format == Format::F32) return _mm256_load_ps(reinterpret_cast<const float*>(group + size_t(c) * 64 + 32 * h));
  const __m128i half = _mm_load_si128(reinterpret_cast<const __m128i*>(group + size_t(c) * 32 + 16 * h));
  if (format == Format::F16) return _mm256_cvtph_ps(half);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

template <int T>
inline void plain_tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, __m256 (*acc)[2]) {
  for (int c = 0; c < w.cols; c++)
    for (int h = 0; h < 2; h++) {
      const __m256 weight = weights(w.format, group, c, h);
      for (int t = 0; t < T; t++)
        acc[t][h] = _mm256_fmadd_ps(_mm256_set1_ps(a.x[size_t(t0 + t) * a.stride + c]), weight, acc[t][h]);
    }
}

/* One tile from its format's loop to memory; row: the first of the group. */
template <int T>
inline void tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, float* out, int stride, int row) {
  __m256 acc[T][2];
  for (int t = 0; t < T; t++) acc[t][0] = acc[t][1] = _mm256_setzero_ps();
  if (!with_pairs(w.format, group, [&](const auto* pairs) { quantised_tile<T>(w, a, pairs, t0, acc); }))
    plain_tile<T>(w, a, group, t0, acc);
  if (has_minima(w.format))
    for (int t = 0; t < T; t++)
      for (int h = 0; h < 2; h++) acc[t][h] = _mm256_mul_ps(acc[t][h], power(w.exponents() + row + 8 * h));
  for (int t = 0; t < T; t++) {
    float lanes[kRows];
    _mm256_storeu_ps(lanes, acc[t][0]);
    _mm256_storeu_ps(lanes + 8, acc[t][1]);
    for (int r = 0; r < kRows && row + r < w.rows; r++) out[size_t(t0 + t) * stride + row + r] = lanes[r];
  }
}

void product(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
             int stride) {
  each_panel(token0, token1, group0, group1, [&](int g, int t, int t1) {
    for (; t + 4 <= t1; t += 4) tile<4>(w, a, w.group(g), t, out, stride, g * kRows);
    for (; t < t1; t++) tile<1>(w, a, w.group(g), t, out, stride, g * kRows);
  });
}

bool has_avx2() {
  unsigned a = 0, b = 0, c = 0, d = 0; /* not every compiler has a name for F16C and AVX-VNNI */
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid(1, &a, &b, &c, &d) &&
         (c & bit_F16C);
}

}  // namespace
}  // namespace skv
#endif
