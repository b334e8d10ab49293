/* AVX-512 with VNNI: one register holds 16 output rows. Compiled with its own flags; everything here stays in this
 * file. */
#include "matmul.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>

#include <cstring>

#include <type_traits>

namespace skv {
namespace {

/* A block of weights, as bytes. */
struct Block {
  __m512i w[8];
  __m512 d;
};

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

/* A block's dot products with one token, for 16 rows, and `offset`. Four activations are broadcast per step; they are
 * read as dwords of the token's int8 row. */
inline __m512 dot(const Block& block, const int8_t* q, int32_t offset) {
  const int32_t* x = reinterpret_cast<const int32_t*>(q);
  __m512i sum = _mm512_set1_epi32(offset), other = _mm512_setzero_si512();
  for (int j = 0; j < 8; j += 2) {
    sum = _mm512_dpbusd_epi32(sum, block.w[j], _mm512_set1_epi32(x[j]));
    other = _mm512_dpbusd_epi32(other, block.w[j + 1], _mm512_set1_epi32(x[j + 1]));
  }
  return _mm512_cvtepi32_ps(_mm512_add_epi32(sum, other));
}

inline void store(float* out, int row, int rows, __m512 value) {
  if (row + kRows <= rows)
    _mm512_storeu_ps(out, value);
  else
    _mm512_mask_storeu_ps(out, __mmask16((1u << (rows - row)) - 1), value);
}

/* Weights are read once from memory by the first tokens that meet them: those call what comes kAhead pairs of blocks
 * later into the second-level cache, where a single stream does not reach the memory's rate by itself. */
constexpr int kAhead = 10;

template <class Pair>
inline void call(const Pair* pair) {
  const char* ahead = reinterpret_cast<const char*>(pair + kAhead);
  for (size_t line = 0; line < sizeof(Pair); line += 64) _mm_prefetch(ahead + line, _MM_HINT_T1);
}

/* T tokens of one row group; kFirst: the weights come from memory. */
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
    if (kFirst) call(pair);
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
    if (kFirst) call(pair);
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

template <int n>
using Count = std::integral_constant<int, n>;

/* Tokens are walked in panels whose activations stay in the first-level cache while every row group passes over them.
 */
void product(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
             int stride) {
  constexpr int kPanel = 32;
  for (int p0 = token0; p0 < token1; p0 += kPanel) {
    const int p1 = p0 + kPanel < token1 ? p0 + kPanel : token1;
    for (int g = group0; g < group1; g++) {
      const uint8_t* group = w.group(g);
      int t = p0;
      auto tokens = [&](auto T, auto first) {
        tile<T, first>(w, a, group, t, out, stride, g * kRows);
        t += T;
      };
      auto rest = [&](auto first) {
        if (t + 8 <= p1) return tokens(Count<8>(), first);
        if (t + 4 <= p1) return tokens(Count<4>(), first);
        if (t + 2 <= p1) return tokens(Count<2>(), first);
        tokens(Count<1>(), first);
      };
      if (t == token0) rest(std::true_type());
      while (t < p1) rest(std::false_type());
    }
  }
}

/* Rounds to nearest even as the processor does by default. */
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
      to.sum[at * 2 + b] = int16_t(sum), to.offset[at * 2 + b] = -128 * sum;
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
