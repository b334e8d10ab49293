/* Dense products with AVX-512 and VNNI. A tile is one row group × 8, 4, 2 or 1 tokens, in registers from its first
 * column to its last: the 16 rows are one register for each token.
 *
 *   in    w: packed rows (packed.h), read from memory once a panel of 32 tokens
 *         a: activations of tokens [token0, token1): f32 [token][stride], int8 q [token][pair][64], with the scale and
 *            sums of each pair (matmul.h), which stay in the first-level cache while the row groups pass over them
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by memory for few tokens: so the first tile of a group prefetches its weights; by vpdpbusd for many, one of
 *         which multiplies 4 inputs of 16 rows with a token's
 *
 * Compiled with its own flags; all of it stays in this file, so that no other is compiled for AVX-512. */
#include "matmul.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>

#include <cstring>

namespace skv {
namespace {

/* A block of a group's weights, unpacked. */
struct Block {
  __m512i w[8]; /* byte b of row r's dword j: input 4j + b */
  __m512 d;     /* [row] */
};

/* Sixteen f16 as f32. */
inline __m512 halves(const uint16_t* at) {
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
}

inline Block block_of(const Q4Pair& pair, int b) {
  Block out;
  const __m512i low = _mm512_set1_epi8(15);
  for (int j = 0; j < 4; j++) {
    const __m512i pairs = _mm512_load_si512(pair.w[b][j]);
    out.w[j] = _mm512_and_si512(pairs, low);
    out.w[4 + j] = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low);
  }
  out.d = halves(pair.d[b]);
  return out;
}

inline Block block_of(const Q8Pair& pair, int b) {
  Block out;
  for (int j = 0; j < 8; j++) out.w[j] = _mm512_load_si512(pair.w[b][j]);
  out.d = halves(pair.d[b]);
  return out;
}

/* Dot products of a block with a token's q [kBlock], plus `offset`, 16 rows. Four activations are broadcast at a time,
 * read as a dword. Two sums, so that one instruction need not wait for the one before. */
inline __m512 dot(const Block& block, const int8_t* q, int32_t offset) {
  const int32_t* x = reinterpret_cast<const int32_t*>(q);
  __m512i sum = _mm512_set1_epi32(offset), other = _mm512_setzero_si512();
  for (int j = 0; j < 8; j += 2) {
    sum = _mm512_dpbusd_epi32(sum, block.w[j], _mm512_set1_epi32(x[j]));
    other = _mm512_dpbusd_epi32(other, block.w[j + 1], _mm512_set1_epi32(x[j + 1]));
  }
  return _mm512_cvtepi32_ps(_mm512_add_epi32(sum, other));
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

/* A tile of tokens [t0, t0 + T); row: the first of the group; kFirst: its weights come from memory. */
template <int T, bool kFirst>
inline void q4_tile(const Matrix& w, const Activations& a, const Q4Pair* pair, int t0, float* out, int stride,
                    int row) {
  const int pairs = pairs_of(w.cols);
  __m512 acc[T];
  for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
  if (kFirst) _mm_prefetch(reinterpret_cast<const char*>(w.exponents() + row), _MM_HINT_T0);
  const int8_t* q = a.q + size_t(t0) * pairs * kPair;
  const float* scale = a.scale + size_t(t0) * pairs;
  const int32_t* sums = reinterpret_cast<const int32_t*>(a.sum) + size_t(t0) * pairs;
  for (int i = 0; i < pairs; i++, pair++, q += kPair) {
    if (kFirst) prefetch(pair);
    const __m512i m = _mm512_load_si512(pair->m);
    const Block b0 = block_of(*pair, 0), b1 = block_of(*pair, 1);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const size_t at = size_t(t) * pairs + i;
      __m512 part = _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(_mm512_setzero_si512(), m, _mm512_set1_epi32(sums[at])));
      part = _mm512_fmadd_ps(dot(b0, q + size_t(t) * pairs * kPair, 0), b0.d, part);
      part = _mm512_fmadd_ps(dot(b1, q + size_t(t) * pairs * kPair + kBlock, 0), b1.d, part);
      acc[t] = _mm512_fmadd_ps(part, _mm512_set1_ps(scale[at]), acc[t]);
    }
  }
  const __m512 e =
      _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(w.exponents() + row))));
  for (int t = 0; t < T; t++) store(out + size_t(t0 + t) * stride + row, row, w.rows, _mm512_scalef_ps(acc[t], e));
}

template <int T, bool kFirst>
inline void q8_tile(const Matrix& w, const Activations& a, const Q8Pair* pair, int t0, float* out, int stride,
                    int row) {
  const int pairs = pairs_of(w.cols);
  __m512 acc[T];
  for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
  const int8_t* q = a.q + size_t(t0) * pairs * kPair;
  const float* scale = a.scale + size_t(t0) * pairs;
  const int32_t* offset = a.offset + size_t(t0) * pairs * 2;
  for (int i = 0; i < pairs; i++, pair++, q += kPair) {
    if (kFirst) prefetch(pair);
    const Block b0 = block_of(*pair, 0), b1 = block_of(*pair, 1);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const size_t at = size_t(t) * pairs + i;
      __m512 part = _mm512_mul_ps(dot(b0, q + size_t(t) * pairs * kPair, offset[2 * at]), b0.d);
      part = _mm512_fmadd_ps(dot(b1, q + size_t(t) * pairs * kPair + kBlock, offset[2 * at + 1]), b1.d, part);
      acc[t] = _mm512_fmadd_ps(part, _mm512_set1_ps(scale[at]), acc[t]);
    }
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
  switch (w.format) {
    case Format::Q4:
      return q4_tile<T, kFirst>(w, a, reinterpret_cast<const Q4Pair*>(group), t0, out, stride, row);
    case Format::Q8:
      return q8_tile<T, kFirst>(w, a, reinterpret_cast<const Q8Pair*>(group), t0, out, stride, row);
    case Format::F16:
      return plain_tile<Format::F16, T>(w, a, group, t0, out, stride, row);
    case Format::BF16:
      return plain_tile<Format::BF16, T>(w, a, group, t0, out, stride, row);
    case Format::F32:
      return plain_tile<Format::F32, T>(w, a, group, t0, out, stride, row);
  }
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
  constexpr int kPanel = 32; /* tokens whose activations stay in the first-level cache */
  for (int p0 = token0; p0 < token1; p0 += kPanel) {
    const int p1 = p0 + kPanel < token1 ? p0 + kPanel : token1;
    for (int g = group0; g < group1; g++) {
      int t = p0;
      if (t == token0) t += next_tile<true>(w, a, g, t, p1, out, stride);
      while (t < p1) t += next_tile<false>(w, a, g, t, p1, out, stride);
    }
  }
}

/* A token's activations to int8, as quantise_generic; the processor rounds to nearest even by default. */
void quantise(const Activations& to, int token, const float* x) {
  const int pairs = pairs_of(to.cols);
  for (int i = 0; i < pairs; i++, x += kPair) {
    const size_t at = size_t(token) * pairs + i;
    const bool odd = (i + 1) * kPair > to.cols;
    __m512 in[4];
    for (int j = 0; j < 4; j++) in[j] = odd && j >= 2 ? _mm512_setzero_ps() : _mm512_loadu_ps(x + 16 * j);
    __m512i magnitude = _mm512_setzero_si512();
    for (int j = 0; j < 4; j++) magnitude = _mm512_max_epi32(magnitude, _mm512_castps_si512(_mm512_abs_ps(in[j])));
    const int32_t bits = _mm512_reduce_max_epi32(magnitude); /* |x| compares like its bits */
    float peak;
    memcpy(&peak, &bits, 4);
    const __m512 inverse =
        _mm512_set1_ps(peak > 1e-30f ? 127.0f / peak : 0.0f); /* below, the quotient would overflow */
    __m512i q[4];
    for (int j = 0; j < 4; j++) {
      q[j] = _mm512_cvtps_epi32(_mm512_mul_ps(in[j], inverse));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to.q + at * kPair + 16 * j), _mm512_cvtepi32_epi8(q[j]));
    }
    to.scale[at] = peak / 127.0f;
    for (int b = 0; b < 2; b++) {
      const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(q[2 * b], q[2 * b + 1]));
      to.sum[at * 2 + b] = int16_t(sum);
      to.offset[at * 2 + b] = -128 * sum;
    }
  }
}

bool supported() {
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

extern const Isa kAvx512 = {"avx512vnni", supported, product, quantise};

}  // namespace skv
#endif
