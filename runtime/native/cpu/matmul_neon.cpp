/* Dense products with NEON's dot products of bytes (Armv8.2 and later). A tile is one row group × 8, 4 or 1 tokens: the
 * 16 rows are four registers q of 4 for each token.
 *
 *   in    w: packed rows (packed.h), read from memory once a panel of 32 tokens
 *         a: activations of tokens [token0, token1): f32 [token][stride] and int8 [token][pair][64], with the scale and
 *            sums of each pair (matmul.h), which stay in the first-level cache while the row groups pass over them
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by memory for few tokens; by sdot for many, one of which multiplies 4 inputs of 4 rows with a token's
 *
 * Weights are taken less their format's zero, which makes them signed. All code for these instructions stays in this
 * file, behind a pragma: no other is compiled for them. */
#include "matmul.h"

#if defined(__aarch64__) && defined(__linux__)
#include <arm_neon.h>
#include <sys/auxv.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("arch=armv8.2-a+dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace skv {
namespace {

inline uint8x16_t load(const uint8_t (*at)[4]) { return vld1q_u8(at[0]); }

/* Nibbles of vector j of a block, rows 4q … 4q + 3. */
template <class Pair>
inline uint8x16_t nibbles(const Pair& pair, int b, int j, int q) {
  const uint8x16_t both = load(pair.w[b][j % 4] + 4 * q);
  return j < 4 ? vandq_u8(both, vdupq_n_u8(15)) : vshrq_n_u8(both, 4);
}
/* Bits 2k and 2k + 1 of each byte. */
inline uint8x16_t twos(uint8x16_t bits, int k) {
  return vandq_u8(vshlq_u8(bits, vdupq_n_s8(int8_t(-2 * k))), vdupq_n_u8(3));
}

/* Vector j of block b, rows 4q … 4q + 3: byte i of row r's word is input 4j + i, less the format's zero. */
inline int8x16_t vector_of(const Q4Pair& pair, int b, int j, int q) {
  return vreinterpretq_s8_u8(nibbles(pair, b, j, q));
}
inline int8x16_t vector_of(const Q5Pair& pair, int b, int j, int q) {
  const uint8x16_t bits = vshlq_u8(load(pair.high[b] + 4 * q), vdupq_n_s8(int8_t(4 - j)));
  return vreinterpretq_s8_u8(vorrq_u8(nibbles(pair, b, j, q), vandq_u8(bits, vdupq_n_u8(16))));
}
inline int8x16_t vector_of(const Q2Pair& pair, int b, int j, int q) {
  return vreinterpretq_s8_u8(twos(load(pair.w[b][j / 4] + 4 * q), j % 4));
}
inline int8x16_t vector_of(const Q6Pair& pair, int b, int j, int q) {
  const uint8x16_t high = vshlq_n_u8(twos(load(pair.high[b][j / 4] + 4 * q), j % 4), 4);
  const uint8x16_t w = vorrq_u8(nibbles(pair, b, j, q), high);
  return vreinterpretq_s8_u8(vsubq_u8(w, vdupq_n_u8(kQ6Zero)));
}
inline int8x16_t vector_of(const Q8Pair& pair, int b, int j, int q) {
  return vreinterpretq_s8_u8(vsubq_u8(load(pair.w[b][j] + 4 * q), vdupq_n_u8(kQ8Zero)));
}

/* Four f16 as f32. */
inline float32x4_t halves(const uint16_t* at) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at))); }

/* What minima add to a pair's products, rows 4q … 4q + 3; `at`: token's pair. m and sums: of two blocks or halves. */
inline int32x4_t minima_of(const int16_t (*m)[2], const int16_t* sums) {
  const int16x4x2_t each = vld2_s16(m[0]);
  return vmlal_n_s16(vmull_n_s16(each.val[0], sums[0]), each.val[1], sums[1]);
}
template <class Pair>
inline float32x4_t min_term(const Pair& pair, const Int8Pairs& x, size_t at, int q) {
  return vcvtq_f32_s32(minima_of(pair.m + 4 * q, x.sum + at * 2));
}
inline float32x4_t min_term(const Q2Pair& pair, const Int8Pairs& x, size_t at, int q) {
  const int32x4_t first = minima_of(pair.m[0] + 4 * q, x.half_sum + at * 4);
  return vcvtq_f32_s32(vaddq_s32(first, minima_of(pair.m[1] + 4 * q, x.half_sum + at * 4 + 2)));
}
inline float32x4_t min_term(const Q6Pair&, const Int8Pairs&, size_t, int) { return vdupq_n_f32(0); }
inline float32x4_t min_term(const Q8Pair&, const Int8Pairs&, size_t, int) { return vdupq_n_f32(0); }

/* dot + products of vectors w [4] with 16 inputs. */
inline int32x4_t dot16(int32x4_t dot, const int8x16_t* w, int8x16_t x) {
  dot = vdotq_laneq_s32(dot, w[0], x, 0);
  dot = vdotq_laneq_s32(dot, w[1], x, 1);
  dot = vdotq_laneq_s32(dot, w[2], x, 2);
  return vdotq_laneq_s32(dot, w[3], x, 3);
}

/* acc [token][q] += products of a pair with inputs of T tokens. `at`: the first's pair; the next one's is `step` on. */
template <int T, class Pair>
inline void add_pair(float32x4_t (*acc)[4], const Pair& pair, const Int8Pairs& x, size_t at, size_t step) {
  for (int q = 0; q < 4; q++) {
    float32x4_t part[T];
    for (int t = 0; t < T; t++) part[t] = min_term(pair, x, at + t * step, q);
    for (int b = 0; b < 2; b++) {
      int8x16_t w[8];
      for (int j = 0; j < 8; j++) w[j] = vector_of(pair, b, j, q);
      const float32x4_t d = halves(scales_of(pair, b, 0) + 4 * q), d_half = halves(scales_of(pair, b, 16) + 4 * q);
      for (int t = 0; t < T; t++) {
        const int8_t* in = x.q + (at + t * step) * kPair + b * kBlock;
        int32x4_t dot = dot16(vdupq_n_s32(0), w, vld1q_s8(in));
        if (Pair::kSpan < kBlock) {
          part[t] = vfmaq_f32(part[t], vcvtq_f32_s32(dot), d);
          dot = vdupq_n_s32(0);
        }
        dot = dot16(dot, w + 4, vld1q_s8(in + 16));
        part[t] = vfmaq_f32(part[t], vcvtq_f32_s32(dot), d_half);
      }
    }
    for (int t = 0; t < T; t++) acc[t][q] = vfmaq_n_f32(acc[t][q], part[t], x.scale[at + t * step]);
  }
}

/* A tile of tokens [t0, t0 + T): acc [token][q] += products of all pairs, then of the fine terms that its tokens have.
 */
template <int T, class Pair>
inline void quantised_tile(const Matrix& w, const Activations& a, const Pair* pair, int t0, float32x4_t (*acc)[4]) {
  const int pairs = pairs_of(w.cols);
  const size_t first = size_t(t0) * pairs;
  for (int k = 0; k < pairs; k++) add_pair<T>(acc, pair[k], a.coarse, first + k, pairs);
  each_fine_pair(a, t0, T, [&](int k) { add_pair<T>(acc, pair[k], a.fine, first + k, pairs); });
}

/* Column c of a group without blocks, rows 4q … 4q + 3, as f32. */
inline float32x4_t weights(Format format, const uint8_t* group, int c, int q) {
  if (format == Format::F32) return vld1q_f32(reinterpret_cast<const float*>(group) + size_t(c) * kRows + 4 * q);
  const uint16_t* half = reinterpret_cast<const uint16_t*>(group) + size_t(c) * kRows + 4 * q;
  if (format == Format::F16) return halves(half);
  return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(half), 16));
}

template <int T>
inline void plain_tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, float32x4_t (*acc)[4]) {
  for (int c = 0; c < w.cols; c++)
    for (int q = 0; q < 4; q++) {
      const float32x4_t weight = weights(w.format, group, c, q);
      for (int t = 0; t < T; t++) acc[t][q] = vfmaq_n_f32(acc[t][q], weight, a.x[size_t(t0 + t) * a.stride + c]);
    }
}

/* 2^e of 4 rows. */
inline float32x4_t power(const int8_t* e) {
  const int32x4_t biased = {e[0] + 127, e[1] + 127, e[2] + 127, e[3] + 127};
  return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}

/* One tile from its format's loop to memory; row: the first of the group. */
template <int T>
inline void tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, float* out, int stride, int row) {
  float32x4_t acc[T][4];
  for (auto& of_token : acc)
    for (auto& sum : of_token) sum = vdupq_n_f32(0);
  if (!with_pairs(w.format, group, [&](const auto* pairs) { quantised_tile<T>(w, a, pairs, t0, acc); }))
    plain_tile<T>(w, a, group, t0, acc);
  for (int t = 0; t < T; t++) {
    float lanes[kRows];
    for (int q = 0; q < 4; q++) {
      const float32x4_t sum = acc[t][q];
      vst1q_f32(lanes + 4 * q, has_minima(w.format) ? vmulq_f32(sum, power(w.exponents() + row + 4 * q)) : sum);
    }
    for (int r = 0; r < kRows && row + r < w.rows; r++) out[size_t(t0 + t) * stride + row + r] = lanes[r];
  }
}

void product(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
             int stride) {
  each_panel(token0, token1, group0, group1, [&](int g, int t, int t1) {
    for (; t + 8 <= t1; t += 8) tile<8>(w, a, w.group(g), t, out, stride, g * kRows);
    for (; t + 4 <= t1; t += 4) tile<4>(w, a, w.group(g), t, out, stride, g * kRows);
    for (; t < t1; t++) tile<1>(w, a, w.group(g), t, out, stride, g * kRows);
  });
}

bool supported() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }

}  // namespace

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

extern const Isa kDotprod = {"dotprod", supported, product, quantise_generic};

}  // namespace skv
#endif
