/* Dense products in registers of 512 bits, with AVX-512 and VNNI. A tile is one row group × 8, 4, 2 or 1 tokens, in
 * registers from its first column to its last: the 16 rows are one register for each token.
 *
 *   in    w: packed rows (packed.h), read from memory once a panel of 32 tokens
 *         a: activations of tokens [token0, token1): f32 [token][stride] and int8 [token][pair][64], with the scale and
 *            sums of each pair (matmul.h), which stay in the first-level cache while the row groups pass over them
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by memory for few tokens: so the first tile of a group prefetches its weights; by vpdpbusd for many, one of
 *         which multiplies 4 inputs of 16 rows with a token's
 *
 * Included by one file for each set of flags; all of it is that file's own, so that no other is compiled for AVX-512.
 */
#ifndef SKV_MATMUL_512_H
#define SKV_MATMUL_512_H
#include "matmul.h"

#include <immintrin.h>

#include <cmath>
#include <cstring>

namespace skv {
namespace {

/* Sixteen f16 as f32. */
inline __m512 halves(const uint16_t* at) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
}

/* A block of a group's weights, unpacked. */
template <int kSpans>
struct Block {
  __m512i w[8];     /* byte b of row r's dword j: input 4j + b */
  __m512 d[kSpans]; /* [row] */
};
template <class Pair>
using BlockOf = Block<kBlock / Pair::kSpan>;

/* Nibbles of a block: w of Q4, its low four bits of Q5 and Q6. */
inline void nibbles(const uint8_t (&packed)[4][kRows][4], __m512i* w) {
  const __m512i low = _mm512_set1_epi8(15);
  for (int j = 0; j < 4; j++) {
    const __m512i both = _mm512_load_si512(packed[j]);
    w[j] = _mm512_and_si512(both, low);
    w[4 + j] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
  }
}

/* w | bits at `mask` of `from` */
inline __m512i with_bits(__m512i w, __m512i from, char mask) {
  return _mm512_ternarylogic_epi32(w, from, _mm512_set1_epi8(mask), 0xf8);
}

inline void weights_of(const Q4Pair& pair, int b, __m512i* w) { nibbles(pair.w[b], w); }
inline void weights_of(const Q5Pair& pair, int b, __m512i* w) {
  nibbles(pair.w[b], w);
  const __m512i bits = _mm512_load_si512(pair.high[b]);
  for (int j = 0; j < 4; j++) w[j] = with_bits(w[j], _mm512_slli_epi16(bits, 4 - j), 16);
  w[4] = with_bits(w[4], bits, 16);
  for (int j = 5; j < 8; j++) w[j] = with_bits(w[j], _mm512_srli_epi16(bits, j - 4), 16);
}
inline void weights_of(const Q2Pair& pair, int b, __m512i* w) {
  const __m512i low = _mm512_set1_epi8(3);
  for (int j = 0; j < 2; j++) {
    const __m512i bits = _mm512_load_si512(pair.w[b][j]);
    for (int k = 0; k < 4; k++) w[4 * j + k] = _mm512_and_si512(_mm512_srli_epi16(bits, 2 * k), low);
  }
}
inline void weights_of(const Q6Pair& pair, int b, __m512i* w) {
  nibbles(pair.w[b], w);
  for (int j = 0; j < 2; j++) {
    const __m512i bits = _mm512_load_si512(pair.high[b][j]);
    w[4 * j] = with_bits(w[4 * j], _mm512_slli_epi16(bits, 4), 48);
    w[4 * j + 1] = with_bits(w[4 * j + 1], _mm512_slli_epi16(bits, 2), 48);
    w[4 * j + 2] = with_bits(w[4 * j + 2], bits, 48);
    w[4 * j + 3] = with_bits(w[4 * j + 3], _mm512_srli_epi16(bits, 2), 48);
  }
}
inline void weights_of(const Q8Pair& pair, int b, __m512i* w) {
  for (int j = 0; j < 8; j++) w[j] = _mm512_load_si512(pair.w[b][j]);
}

template <class Pair>
inline BlockOf<Pair> block_of(const Pair& pair, int b) {
  BlockOf<Pair> out;
  weights_of(pair, b, out.w);
  for (int s = 0; s < kBlock / Pair::kSpan; s++) out.d[s] = halves(scales_of(pair, b, s * Pair::kSpan));
  return out;
}

/* part += d * (dot product of each span of a block with a token's q [kBlock], plus what the zero of its w adds,
 * `offset` [span]), 16 rows. Four activations are broadcast at a time, read as a dword. Two sums, so that one
 * instruction need not wait for the one before. */
template <int kSpans>
inline __m512 add_dots(__m512 part, const Block<kSpans>& block, const int8_t* q, const int32_t* offset) {
  const int32_t* x = reinterpret_cast<const int32_t*>(q);
  for (int s = 0; s < kSpans; s++) {
    __m512i sum = offset ? _mm512_set1_epi32(offset[s]) : _mm512_setzero_si512(), other = _mm512_setzero_si512();
    for (int j = 8 / kSpans * s; j < 8 / kSpans * (s + 1); j += 2) {
      sum = _mm512_dpbusd_epi32(sum, block.w[j], _mm512_set1_epi32(x[j]));
      other = _mm512_dpbusd_epi32(other, block.w[j + 1], _mm512_set1_epi32(x[j + 1]));
    }
    part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sum, other)), block.d[s], part);
  }
  return part;
}

/* What the zero of w adds to the spans of block b: [span], null where there is no zero. `at`: token's pair. */
template <class Pair>
inline const int32_t* offsets_of(const Pair&, const Int8Pairs&, size_t, int) {
  return nullptr;
}
inline const int32_t* offsets_of(const Q6Pair&, const Int8Pairs& x, size_t at, int b) {
  return x.half_offset + at * 4 + 2 * b;
}
inline const int32_t* offsets_of(const Q8Pair&, const Int8Pairs& x, size_t at, int b) { return x.offset + at * 2 + b; }

/* Minima of a pair, and what they add to a token's products. */
template <class Pair>
struct Minima { /* none */
  explicit Minima(const Pair&) {}
  __m512 term(const Int8Pairs&, size_t) const { return _mm512_setzero_ps(); }
};
template <class Pair>
struct BlockMinima {
  __m512i m;
  explicit BlockMinima(const Pair& pair) : m(_mm512_load_si512(pair.m)) {}
  __m512 term(const Int8Pairs& x, size_t at) const {
    const int32_t sums = reinterpret_cast<const int32_t*>(x.sum)[at];
    return _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(_mm512_setzero_si512(), m, _mm512_set1_epi32(sums)));
  }
};
template <>
struct Minima<Q4Pair> : BlockMinima<Q4Pair> {
  using BlockMinima::BlockMinima;
};
template <>
struct Minima<Q5Pair> : BlockMinima<Q5Pair> {
  using BlockMinima::BlockMinima;
};
template <>
struct Minima<Q2Pair> {
  __m512i m[2];
  explicit Minima(const Q2Pair& pair) {
    for (int b = 0; b < 2; b++) m[b] = _mm512_load_si512(pair.m[b]);
  }
  __m512 term(const Int8Pairs& x, size_t at) const {
    const int32_t* sums = reinterpret_cast<const int32_t*>(x.half_sum) + 2 * at;
    const __m512i first = _mm512_dpwssd_epi32(_mm512_setzero_si512(), m[0], _mm512_set1_epi32(sums[0]));
    return _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(first, m[1], _mm512_set1_epi32(sums[1])));
  }
};

/* What the sums of group g are to be multiplied by: powers of two, [row]. */
inline __m512 exponents_of(const Matrix& w, int g) {
  if (!has_minima(w.format)) return _mm512_setzero_ps();
  const __m128i e = _mm_load_si128(reinterpret_cast<const __m128i*>(w.exponents() + g * kRows));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(e));
}

/* Rows [row, row + 16) of a token, less those past the last. */
inline void store(float* out, int row, int rows, __m512 value) {
  if (row + kRows <= rows)
    _mm512_storeu_ps(out, value);
  else
    _mm512_mask_storeu_ps(out, __mmask16((1u << (rows - row)) - 1), value);
}

/* Weights come from memory with the first tile of a group. It prefetches what comes kAhead pairs later into the
 * second-level cache, since a single stream does not reach the memory's rate by itself. */
constexpr int kAhead = 10;

template <class Pair>
inline void prefetch(const Pair* pair) {
  const char* ahead = reinterpret_cast<const char*>(pair + kAhead);
  for (size_t line = 0; line < sizeof(Pair); line += 64) _mm_prefetch(ahead + line, _MM_HINT_T1);
}

/* acc [token] += products of a pair with inputs of T tokens. `at`: the first's pair; the next one's is `step` on. */
template <int T, class Pair>
inline void add_pair(__m512* acc, const Pair& pair, const Int8Pairs& x, size_t at, size_t step) {
  const Minima<Pair> minima(pair);
  const BlockOf<Pair> b0 = block_of(pair, 0), b1 = block_of(pair, 1);
#pragma GCC unroll 8
  for (int t = 0; t < T; t++, at += step) {
    const int8_t* q = x.q + at * kPair;
    __m512 part = minima.term(x, at);
    part = add_dots(part, b0, q, offsets_of(pair, x, at, 0));
    part = add_dots(part, b1, q + kBlock, offsets_of(pair, x, at, 1));
    acc[t] = _mm512_fmadd_ps(part, _mm512_set1_ps(x.scale[at]), acc[t]);
  }
}

/* A tile of tokens [t0, t0 + T); row: the first of the group; kFirst: its weights come from memory. */
template <int T, bool kFirst, class Pair>
inline void quantised_tile(const Matrix& w, const Activations& a, const Pair* pair, int t0, float* out, int stride,
                           int row) {
  const int pairs = pairs_of(w.cols);
  __m512 acc[T];
  for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
  if (kFirst && has_minima(w.format)) _mm_prefetch(reinterpret_cast<const char*>(w.exponents() + row), _MM_HINT_T0);
  for (int i = 0; i < pairs; i++) {
    if (kFirst) prefetch(pair + i);
    add_pair<T>(acc, pair[i], a.coarse, size_t(t0) * pairs + i, pairs);
  }
  each_fine_pair(a, t0, T, [&](int i) __attribute__((always_inline)) {
    add_pair<T>(acc, pair[i], a.fine, size_t(t0) * pairs + i, pairs);
  });
  if (has_minima(w.format)) {
    const __m512 exponents = exponents_of(w, row / kRows);
    for (int t = 0; t < T; t++) acc[t] = _mm512_scalef_ps(acc[t], exponents);
  }
  for (int t = 0; t < T; t++) store(out + size_t(t0 + t) * stride + row, row, w.rows, acc[t]);
}

/* Column c of a group without blocks, as f32. */
inline __m512 weights(Format format, const uint8_t* group, int c) {
  if (format == Format::F32) return _mm512_load_ps(group + size_t(c) * 64);
  const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(group + size_t(c) * 32));
  if (format == Format::F16) return _mm512_cvtph_ps(half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

template <Format F, int T>
inline void plain_tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, float* out, int stride,
                       int row) {
  __m512 acc[T];
  for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
  const float* x = a.x + size_t(t0) * a.stride;
  for (int c = 0; c < w.cols; c++) {
    const __m512 weight = weights(F, group, c);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) acc[t] = _mm512_fmadd_ps(_mm512_set1_ps(x[size_t(t) * a.stride + c]), weight, acc[t]);
  }
  for (int t = 0; t < T; t++) store(out + size_t(t0 + t) * stride + row, row, w.rows, acc[t]);
}

template <int T, bool kFirst>
inline void tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, float* out, int stride, int row) {
  auto quantised = [&](const auto* pairs) { quantised_tile<T, kFirst>(w, a, pairs, t0, out, stride, row); };
  if (with_pairs(w.format, group, quantised)) return;
  if (w.format == Format::F16) return plain_tile<Format::F16, T>(w, a, group, t0, out, stride, row);
  if (w.format == Format::BF16) return plain_tile<Format::BF16, T>(w, a, group, t0, out, stride, row);
  plain_tile<Format::F32, T>(w, a, group, t0, out, stride, row);
}

/* One tile of group g that begins at token t: as many of tokens [t, end) as fit; returns how many. */
template <bool kFirst>
inline int next_tile(const Matrix& w, const Activations& a, int g, int t, int end, float* out, int stride) {
  const uint8_t* group = w.group(g);
  const int row = g * kRows;
  if (t + 8 <= end) {
    tile<8, kFirst>(w, a, group, t, out, stride, row);
    return 8;
  }
  if (t + 4 <= end) {
    tile<4, kFirst>(w, a, group, t, out, stride, row);
    return 4;
  }
  if (t + 2 <= end) {
    tile<2, kFirst>(w, a, group, t, out, stride, row);
    return 2;
  }
  tile<1, kFirst>(w, a, group, t, out, stride, row);
  return 1;
}

void product(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
             int stride) {
  each_panel(token0, token1, group0, group1, [&](int g, int t, int t1) {
    if (t == token0) t += next_tile<true>(w, a, g, t, t1, out, stride);
    while (t < t1) t += next_tile<false>(w, a, g, t, t1, out, stride);
  });
}

/* Sums of a pair's halves and blocks, and what they offset. q: 16 numbers each. */
inline void store_sums(const Int8Pairs& to, size_t at, const __m128i q[4]) {
  const __m256i low = _mm256_set_m128i(q[1], q[0]), high = _mm256_set_m128i(q[3], q[2]);
  const __m512i biased =
      _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), _mm512_set1_epi8(-128));
  const __m512i eights = _mm512_sad_epu8(biased, _mm512_setzero_si512()); /* [8] of 8 numbers + 128 each */
  const __m256i sums = _mm512_cvtepi64_epi32(_mm512_add_epi64(eights, _mm512_shuffle_epi32(eights, _MM_PERM_BADC)));
  const __m256i even = _mm256_permutevar8x32_epi32(sums, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
  const __m128i halves = _mm_sub_epi32(_mm256_castsi256_si128(even), _mm_set1_epi32(16 * 128));
  const __m128i blocks = _mm_hadd_epi32(halves, halves);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to.half_sum + at * 4), _mm_packs_epi32(halves, halves));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to.half_offset + at * 4),
                   _mm_mullo_epi32(halves, _mm_set1_epi32(-kQ6Zero)));
  _mm_storeu_si32(to.sum + at * 2, _mm_packs_epi32(blocks, blocks));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to.offset + at * 2), _mm_mullo_epi32(blocks, _mm_set1_epi32(-kQ8Zero)));
}

/* A pair's inputs x [4] to int8 q [4], as quantise_pair of elementwise.cpp: the processor rounds to nearest even by
 * default. Returns the largest |x|. */
inline float quantise_pair(const Int8Pairs& to, size_t at, const __m512* x, __m128i* q) {
  __m512i magnitude = _mm512_setzero_si512();
  for (int j = 0; j < 4; j++) magnitude = _mm512_max_epi32(magnitude, _mm512_castps_si512(_mm512_abs_ps(x[j])));
  const int32_t bits = _mm512_reduce_max_epi32(magnitude); /* |x| compares like its bits */
  float peak;
  memcpy(&peak, &bits, 4);
  /* below, the quotient would overflow */
  const __m512 inverse = _mm512_set1_ps(peak > 1e-30f ? 127.0f / peak : 0.0f);
  for (int j = 0; j < 4; j++) {
    q[j] = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x[j], inverse)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.q + at * kPair + 16 * j), q[j]);
  }
  to.scale[at] = peak / 127.0f;
  store_sums(to, at, q);
  return peak;
}

/* A token's activations to int8, as quantise_generic. */
void quantise(const Activations& to, int token, const float* x) {
  const int pairs = pairs_of(to.cols);
  const float bound = to.keeps_fine ? outlier_bound(x, to.cols) : INFINITY;
  uint64_t* has_fine = to.has_fine + size_t(token) * words_of(pairs);
  if (to.keeps_fine) memset(has_fine, 0, words_of(pairs) * sizeof *has_fine);
  for (int i = 0; i < pairs; i++, x += kPair) {
    const size_t at = size_t(token) * pairs + i;
    const bool odd = (i + 1) * kPair > to.cols;
    __m512 in[4];
    for (int j = 0; j < 4; j++) in[j] = odd && j >= 2 ? _mm512_setzero_ps() : _mm512_loadu_ps(x + 16 * j);
    __m128i q[4];
    const float peak = quantise_pair(to.coarse, at, in, q);
    to.fine.scale[at] = 0;
    if (!(peak > bound)) continue;
    has_fine[i / 64] |= uint64_t(1) << (i % 64);
    const __m512 scale = _mm512_set1_ps(to.coarse.scale[at]);
    for (int j = 0; j < 4; j++)
      in[j] = _mm512_sub_ps(in[j], _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q[j])), scale));
    quantise_pair(to.fine, at, in, q);
  }
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace
}  // namespace skv
#endif
