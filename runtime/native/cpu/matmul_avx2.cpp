/* Dense products with AVX2 and FMA. A tile is one row group × 4 tokens or 1, in registers from its first column to its
 * last: the 16 rows are two registers h of 8 for each token.
 *
 *   in    w: packed rows (packed.h), read from memory once a panel of 32 tokens
 *         a: activations of tokens [token0, token1): f32 [token][stride], int8 q [token][pair][64], with the scale and
 *            sums of each pair (matmul.h), which stay in the first-level cache while the row groups pass over them
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by memory for few tokens; for many by arithmetic: no instruction adds four products of bytes to 32 bits, so
 *         bytes are widened (Q8) or added in pairs first (Q4)
 *
 * Compiled with its own flags; all of it stays in this file, so that no other is compiled for AVX2. */
#include "matmul.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

namespace skv {
namespace {

/* acc [8 rows] += the dot products of four u8 weights and four broadcast i8 activations, exact. vpmaddubsw would
 * saturate at 16 bits for large weights, so bytes are widened first: even and odd inputs apart. */
inline __m256i dot4(__m256i acc, __m256i w, int32_t x4) {
  const __m256i mask = _mm256_set1_epi16(255);
  const __m256i x = _mm256_set1_epi32(x4);
  const __m256i w_even = _mm256_and_si256(w, mask), w_odd = _mm256_srli_epi16(w, 8);
  const __m256i x_even = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8), x_odd = _mm256_srai_epi16(x, 8);
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(w_even, x_even));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(w_odd, x_odd));
}

/* The same for weights of at most 15, which cannot saturate: 2 * 15 * 127 fits 16 bits. */
inline __m256i dot4_small(__m256i acc, __m256i w, int32_t x4) {
  const __m256i pairs = _mm256_maddubs_epi16(w, _mm256_set1_epi32(x4));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* Eight f16 as f32. */
inline __m256 halves(const void* at) { return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(at))); }

inline __m256i load(const void* at) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(at)); }

/* Dot products of block b with a token's q [kBlock], rows 8h … 8h + 7. */
inline __m256 q4_dot(const Q4Pair& pair, int b, const int8_t* q, int h) {
  const int32_t* x = reinterpret_cast<const int32_t*>(q);
  const __m256i low = _mm256_set1_epi8(15);
  __m256i sum = _mm256_setzero_si256();
  for (int j = 0; j < 4; j++) {
    const __m256i both = load(pair.w[b][j][8 * h]);
    sum = dot4_small(sum, _mm256_and_si256(both, low), x[j]);
    sum = dot4_small(sum, _mm256_and_si256(_mm256_srli_epi16(both, 4), low), x[4 + j]);
  }
  return _mm256_cvtepi32_ps(sum);
}

/* The same for Q8; offset takes the bias of its bytes away. */
inline __m256 q8_dot(const Q8Pair& pair, int b, const int8_t* q, int h, int32_t offset) {
  const int32_t* x = reinterpret_cast<const int32_t*>(q);
  __m256i sum = _mm256_set1_epi32(offset);
  for (int j = 0; j < 8; j++) sum = dot4(sum, load(pair.w[b][j][8 * h]), x[j]);
  return _mm256_cvtepi32_ps(sum);
}

/* A tile of tokens [t0, t0 + T): acc [token][h] += products of all pairs. */
template <int T>
inline void q4_tile(const Matrix& w, const Activations& a, const Q4Pair* pair, int t0, __m256 (*acc)[2]) {
  const int pairs = pairs_of(w.cols);
  for (int i = 0; i < pairs; i++, pair++)
    for (int h = 0; h < 2; h++) {
      const __m256i m = load(pair->m[8 * h]);
      const __m256 d0 = halves(pair->d[0] + 8 * h), d1 = halves(pair->d[1] + 8 * h);
      for (int t = 0; t < T; t++) {
        const size_t at = size_t(t0 + t) * pairs + i;
        const int32_t sums = reinterpret_cast<const int32_t*>(a.sum)[at];
        __m256 part = _mm256_cvtepi32_ps(_mm256_madd_epi16(m, _mm256_set1_epi32(sums)));
        part = _mm256_fmadd_ps(q4_dot(*pair, 0, a.q + at * kPair, h), d0, part);
        part = _mm256_fmadd_ps(q4_dot(*pair, 1, a.q + at * kPair + kBlock, h), d1, part);
        acc[t][h] = _mm256_fmadd_ps(part, _mm256_set1_ps(a.scale[at]), acc[t][h]);
      }
    }
}

template <int T>
inline void q8_tile(const Matrix& w, const Activations& a, const Q8Pair* pair, int t0, __m256 (*acc)[2]) {
  const int pairs = pairs_of(w.cols);
  for (int i = 0; i < pairs; i++, pair++)
    for (int h = 0; h < 2; h++) {
      const __m256 d0 = halves(pair->d[0] + 8 * h), d1 = halves(pair->d[1] + 8 * h);
      for (int t = 0; t < T; t++) {
        const size_t at = size_t(t0 + t) * pairs + i;
        const int32_t* offset = a.offset + at * 2;
        __m256 part = _mm256_mul_ps(q8_dot(*pair, 0, a.q + at * kPair, h, offset[0]), d0);
        part = _mm256_fmadd_ps(q8_dot(*pair, 1, a.q + at * kPair + kBlock, h, offset[1]), d1, part);
        acc[t][h] = _mm256_fmadd_ps(part, _mm256_set1_ps(a.scale[at]), acc[t][h]);
      }
    }
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
  if (w.format == Format::Q4)
    q4_tile<T>(w, a, reinterpret_cast<const Q4Pair*>(group), t0, acc);
  else if (w.format == Format::Q8)
    q8_tile<T>(w, a, reinterpret_cast<const Q8Pair*>(group), t0, acc);
  else
    plain_tile<T>(w, a, group, t0, acc);
  if (w.format == Format::Q4)
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
  constexpr int kPanel = 32; /* tokens whose activations stay in the first-level cache */
  for (int p0 = token0; p0 < token1; p0 += kPanel) {
    const int p1 = p0 + kPanel < token1 ? p0 + kPanel : token1;
    for (int g = group0; g < group1; g++) {
      const uint8_t* group = w.group(g);
      int t = p0;
      for (; t + 4 <= p1; t += 4) tile<4>(w, a, group, t, out, stride, g * kRows);
      for (; t < p1; t++) tile<1>(w, a, group, t, out, stride, g * kRows);
    }
  }
}

bool supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

}  // namespace

extern const Isa kAvx2 = {"avx2", supported, product, quantise_generic};

}  // namespace skv
#endif
