/* AVX-512 with VNNI: one register holds 16 output rows. Compiled with its own flags; everything here stays in this
 * file. */
#include "matmul.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>

#include <cstring>

#include <type_traits>

namespace skv {
namespace {

/* A block's integer sums for one token: dot(w, x) of 16 rows. Four activations are broadcast per step; they are read as
 * dwords of the token's int8 row. */
struct Q4Block {
  __m512i w[8];
  __m512 d, m;
  explicit Q4Block(const uint8_t* block) {
    const __m512i low = _mm512_set1_epi8(15);
    for (int j = 0; j < 4; j++) {
      const __m512i pairs = _mm512_load_si512(block + 64 * j);
      w[j] = _mm512_and_si512(pairs, low);
      w[4 + j] = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low);
    }
    d = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(block + 256)));
    m = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(block + 288)));
  }
};

struct Q8Block {
  __m512i w[8];
  __m512 d;
  Q8Block(const uint8_t* block, const uint8_t* scales) {
    for (int j = 0; j < 8; j++) w[j] = _mm512_load_si512(block + 64 * j);
    d = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scales)));
  }
};

inline __m512i dot(const __m512i w[8], const int8_t* q) {
  const int32_t* x = reinterpret_cast<const int32_t*>(q);
  __m512i a = _mm512_setzero_si512(), b = _mm512_setzero_si512();
  for (int j = 0; j < 8; j += 2) {
    a = _mm512_dpbusd_epi32(a, w[j], _mm512_set1_epi32(x[j]));
    b = _mm512_dpbusd_epi32(b, w[j + 1], _mm512_set1_epi32(x[j + 1]));
  }
  return _mm512_add_epi32(a, b);
}

inline void store(float* out, int row, int rows, __m512 value) {
  if (row + kRows <= rows)
    _mm512_storeu_ps(out, value);
  else
    _mm512_mask_storeu_ps(out, __mmask16((1u << (rows - row)) - 1), value);
}

/* Weights are read once from memory by the first tokens that meet them: those call what comes kAhead blocks later into
 * the second-level cache, where a single stream does not reach the memory's rate by itself. */
constexpr int kAhead = 20;

template <int kBytes>
inline void call(const uint8_t* group, int block) {
  for (int line = 0; line < kBytes; line += 64)
    _mm_prefetch(reinterpret_cast<const char*>(group + kBytes * (block + kAhead) + line), _MM_HINT_T1);
}

/* T tokens of one row group; kFirst: the weights come from memory. */
template <int T, bool kFirst>
inline void q4_tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, float* out, int stride,
                    int row) {
  const int blocks = w.cols / kBlock;
  __m512 acc[T], acc_m[T];
  for (int t = 0; t < T; t++) acc[t] = acc_m[t] = _mm512_setzero_ps();
  const int8_t* q = a.q + size_t(t0) * w.cols;
  const float* scale = a.scale + size_t(t0) * blocks;
  const float* scaled_sum = a.scaled_sum + size_t(t0) * blocks;
  for (int b = 0; b < blocks; b++) {
    const uint8_t* at = group + 320 * b;
    if (kFirst) call<320>(group, b);
    const Q4Block block(at);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const __m512 sum = _mm512_cvtepi32_ps(dot(block.w, q + size_t(t) * w.cols + b * kBlock));
      acc[t] = _mm512_fmadd_ps(sum, _mm512_mul_ps(block.d, _mm512_set1_ps(scale[t * blocks + b])), acc[t]);
      acc_m[t] = _mm512_fmadd_ps(block.m, _mm512_set1_ps(scaled_sum[t * blocks + b]), acc_m[t]);
    }
  }
  for (int t = 0; t < T; t++) store(out + size_t(t0 + t) * stride + row, row, w.rows, _mm512_add_ps(acc[t], acc_m[t]));
}

template <int T, bool kFirst>
inline void q8_tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, float* out, int stride,
                    int row) {
  const int blocks = w.cols / kBlock;
  __m512 acc[T];
  for (int t = 0; t < T; t++) acc[t] = _mm512_setzero_ps();
  const int8_t* q = a.q + size_t(t0) * w.cols;
  const float* scale = a.scale + size_t(t0) * blocks;
  const int32_t* sum = a.sum + size_t(t0) * blocks;
  for (int b = 0; b < blocks; b++) {
    const uint8_t* at = group + 512 * b;
    if (kFirst) call<544>(group, b); /* blocks and, behind them, their scales */
    const Q8Block block(at, group + 512 * blocks + 32 * b);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      /* the weights are stored + 128: take 128 * sum(x) off again, exactly */
      const __m512i biased = dot(block.w, q + size_t(t) * w.cols + b * kBlock);
      const __m512i exact = _mm512_sub_epi32(biased, _mm512_set1_epi32(128 * sum[t * blocks + b]));
      acc[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), _mm512_mul_ps(block.d, _mm512_set1_ps(scale[t * blocks + b])),
                               acc[t]);
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
      return q4_tile<T, kFirst>(w, a, group, t0, out, stride, row);
    case Format::Q8:
      return q8_tile<T, kFirst>(w, a, group, t0, out, stride, row);
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
      const uint8_t* group = w.data + w.group_bytes() * g;
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

/* Two registers a block; rounds to nearest even as the processor does by default. */
void quantise(const Activations& to, int token, const float* x) {
  const int blocks = to.cols / kBlock;
  for (int b = 0; b < blocks; b++) {
    const __m512 low = _mm512_loadu_ps(x + b * kBlock), high = _mm512_loadu_ps(x + b * kBlock + 16);
    const __m512i magnitude =
        _mm512_max_epi32(_mm512_castps_si512(_mm512_abs_ps(low)), _mm512_castps_si512(_mm512_abs_ps(high)));
    const int32_t bits = _mm512_reduce_max_epi32(magnitude); /* |x| compares like its bits */
    float peak;
    memcpy(&peak, &bits, 4);
    const __m512 inverse =
        _mm512_set1_ps(peak > 1e-30f ? 127.0f / peak : 0.0f); /* below, the quotient would overflow */
    const __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)),
                  q1 = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
    int8_t* q = to.q + size_t(token) * to.cols + b * kBlock;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtepi32_epi8(q0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + 16), _mm512_cvtepi32_epi8(q1));
    const size_t at = size_t(token) * blocks + b;
    to.scale[at] = peak / 127.0f;
    to.sum[at] = _mm512_reduce_add_epi32(_mm512_add_epi32(q0, q1));
    to.scaled_sum[at] = to.scale[at] * float(to.sum[at]);
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
