/* Dense products with NEON's products of bytes, for processors with dot products (Armv8.2 and later) and, better, with
 * products of matrices (i8mm, SKV_I8MM). A tile is one row group × 16 (i8mm alone), 8, 4 or 1 tokens: the 16
 * rows are four registers q of 4 for each token.
 *
 *   in    w: packed rows (packed.h), read from memory once a panel of 32 tokens
 *         a: activations of tokens [token0, token1): f32 [token][stride] and int8 [token][pair][64], with the scale and
 *            sums of each pair (matmul.h), which stay in the first-level cache while the row groups pass over them
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by memory for few tokens; for many by arithmetic: sdot multiplies 4 inputs of 4 rows with a token's, smmla 8
 *         inputs of 2 rows with two tokens'
 *
 * Weights are taken less their format's zero, which makes them signed. Included by one file for each instruction set,
 * behind a pragma and after all other headers, so that nothing else is compiled for it. */
#ifndef SKV_MATMUL_NEON_H
#define SKV_MATMUL_NEON_H

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

/* dot + products of vectors w [4] with 16 inputs. */
inline int32x4_t dot16(int32x4_t dot, const int8x16_t* w, int8x16_t x) {
  dot = vdotq_laneq_s32(dot, w[0], x, 0);
  dot = vdotq_laneq_s32(dot, w[1], x, 1);
  dot = vdotq_laneq_s32(dot, w[2], x, 2);
  return vdotq_laneq_s32(dot, w[3], x, 3);
}

/* A pair's inputs of tokens, and how they meet weights of rows 4q … 4q + 3: one token at a time, a register each.
 * `at`: the first token's pair; the next one's is `step` on. */
template <int T>
struct SingleInputs {
  static constexpr int kTokens = 1;
  const Int8Pairs& x;
  size_t at, step;

  float32x4_t scale(int t) const { return vld1q_dup_f32(x.scale + at + t * step); }
  /* A number of each row, for a register of each token. */
  static void spread(float32x4_t rows, float32x4_t* to) { to[0] = rows; }
  /* A block's vectors [8], as dots() takes them. */
  static void arrange(int8x16_t*) {}
  /* Dot products with inputs of tokens from t on: of the span of block b that begins at input i. */
  template <int kSpan>
  void dots(const int8x16_t* w, int t, int b, int i, int32x4_t* to) const {
    const int8_t* in = x.q + (at + t * step) * kPair + b * kBlock + i;
    to[0] = dot16(vdupq_n_s32(0), w + i / 4, vld1q_s8(in));
    if (kSpan == kBlock) to[0] = dot16(to[0], w + 4, vld1q_s8(in + 16));
  }
  /* Adds minima m, of two blocks or halves, times the inputs' sums of those: token `at` has them at sums[0] and [1],
   * and a pair `each`. */
  void add_minima(const int16_t (*m)[2], const int16_t* sums, int each, int t, int32x4_t* to) const {
    const int16x4x2_t of = vld2_s16(m[0]);
    sums += (at + t * step) * each;
    to[0] = vmlal_n_s16(vmlal_n_s16(to[0], of.val[0], sums[0]), of.val[1], sums[1]);
  }
  static void sort(float32x4_t (*)[4]) {}
};

#if defined(SKV_I8MM)
/* The same two tokens at a time: of their two registers the first has rows 4q and 4q + 1 of both tokens. */
template <int T>
struct CoupledInputs {
  static constexpr int kTokens = 2;
  const Int8Pairs& x;
  size_t at, step;
  int8x16_t in[T / 2][8]; /* eight inputs of two tokens */

  CoupledInputs(const Int8Pairs& x, size_t at, size_t step) : x(x), at(at), step(step) {
    for (int t = 0; t < T; t += 2)
      for (int j = 0; j < 8; j += 2) {
        const int8_t* q = x.q + (at + t * step) * kPair + 8 * j;
        const int64x2_t first = vreinterpretq_s64_s8(vld1q_s8(q));
        const int64x2_t second = vreinterpretq_s64_s8(vld1q_s8(q + step * kPair));
        in[t / 2][j] = vreinterpretq_s8_s64(vzip1q_s64(first, second));
        in[t / 2][j + 1] = vreinterpretq_s8_s64(vzip2q_s64(first, second));
      }
  }
  float32x4_t scale(int t) const {
    const float* of = x.scale + at + (t & ~1) * step;
    return vcombine_f32(vld1_dup_f32(of), vld1_dup_f32(of + step));
  }
  static void spread(float32x4_t rows, float32x4_t* to) {
    to[0] = vcombine_f32(vget_low_f32(rows), vget_low_f32(rows));
    to[1] = vcombine_f32(vget_high_f32(rows), vget_high_f32(rows));
  }
  /* Vectors 2j and 2j + 1 become eight inputs of rows 0 and 1, and of rows 2 and 3. */
  static void arrange(int8x16_t* w) {
    for (int j = 0; j < 8; j += 2) {
      const int32x4_t even = vreinterpretq_s32_s8(w[j]), odd = vreinterpretq_s32_s8(w[j + 1]);
      w[j] = vreinterpretq_s8_s32(vzip1q_s32(even, odd));
      w[j + 1] = vreinterpretq_s8_s32(vzip2q_s32(even, odd));
    }
  }
  template <int kSpan>
  void dots(const int8x16_t* w, int t, int b, int i, int32x4_t* to) const {
    to[0] = to[1] = vdupq_n_s32(0);
#pragma GCC unroll 4
    for (int j = i / 8; j < (i + kSpan) / 8; j++)
      for (int half = 0; half < 2; half++) to[half] = vmmlaq_s32(to[half], in[t / 2][4 * b + j], w[2 * j + half]);
  }
  void add_minima(const int16_t (*m)[2], const int16_t* sums, int each, int t, int32x4_t* to) const {
    sums += (at + t * step) * each;
    const int16x4_t first = vreinterpret_s16_s32(vld1_dup_s32(reinterpret_cast<const int32_t*>(sums)));
    const int16x4_t second = vreinterpret_s16_s32(vld1_dup_s32(reinterpret_cast<const int32_t*>(sums + step * each)));
    const int16x4x2_t of = vld2_s16(m[0]);
    for (int b = 0; b < 2; b++) {
      const int16x4_t sum = b ? vtrn2_s16(first, second) : vtrn1_s16(first, second); /* of both tokens, twice */
      const int32x2_t rows = vreinterpret_s32_s16(of.val[b]);
      to[0] = vmlal_s16(to[0], vreinterpret_s16_s32(vdup_lane_s32(rows, 0)), vzip1_s16(sum, sum));
      to[1] = vmlal_s16(to[1], vreinterpret_s16_s32(vdup_lane_s32(rows, 1)), vzip1_s16(sum, sum));
    }
  }
  /* Sums of tiles have a register for each token again. */
  static void sort(float32x4_t (*acc)[4]) {
    for (int t = 0; t < T; t += 2)
      for (int q = 0; q < 4; q++) {
        const float64x2_t low = vreinterpretq_f64_f32(acc[t][q]), high = vreinterpretq_f64_f32(acc[t + 1][q]);
        acc[t][q] = vreinterpretq_f32_f64(vzip1q_f64(low, high));
        acc[t + 1][q] = vreinterpretq_f32_f64(vzip2q_f64(low, high));
      }
  }
};
/* For fewer tokens rearranging weights takes as long as it saves. */
template <int T>
using Inputs = std::conditional_t<T == 16, CoupledInputs<T>, SingleInputs<T>>;
#else
template <int T>
using Inputs = SingleInputs<T>;
#endif

/* Adds what minima add to a pair's products with inputs of tokens from t on, rows 4q … 4q + 3. */
template <class Pair, class In>
inline void add_min_terms(const Pair& pair, const In& in, int t, int q, int32x4_t* to) {
  in.add_minima(pair.m + 4 * q, in.x.sum, 2, t, to);
}
template <class In>
inline void add_min_terms(const Q2Pair& pair, const In& in, int t, int q, int32x4_t* to) {
  for (int b = 0; b < 2; b++) in.add_minima(pair.m[b] + 4 * q, in.x.half_sum + 2 * b, 4, t, to);
}
template <class In>
inline void add_min_terms(const Q6Pair&, const In&, int, int, int32x4_t*) {}
template <class In>
inline void add_min_terms(const Q8Pair&, const In&, int, int, int32x4_t*) {}

/* acc [T registers][q] += products of a pair with inputs of T tokens. `at`: the first's pair; the next one's is `step`
 * on. */
template <int T, class Pair>
inline void add_pair(float32x4_t (*acc)[4], const Pair& pair, const Int8Pairs& x, size_t at, size_t step) {
  const Inputs<T> in{x, at, step};
  constexpr int kTokens = in.kTokens;
  for (int q = 0; q < 4; q++) {
    float32x4_t part[T];
#pragma GCC unroll 16
    for (int t = 0; t < T; t += kTokens) {
      int32x4_t sums[kTokens] = {};
      add_min_terms(pair, in, t, q, sums);
      for (int k = 0; k < kTokens; k++) part[t + k] = vcvtq_f32_s32(sums[k]);
    }
    for (int b = 0; b < 2; b++) {
      int8x16_t w[8];
      for (int j = 0; j < 8; j++) w[j] = vector_of(pair, b, j, q);
      in.arrange(w);
#pragma GCC unroll 2
      for (int i = 0; i < kBlock; i += Pair::kSpan) { /* unrolled: weights stay in registers */
        float32x4_t d[kTokens];
        in.spread(halves(scales_of(pair, b, i) + 4 * q), d);
#pragma GCC unroll 16
        for (int t = 0; t < T; t += kTokens) {
          int32x4_t dots[kTokens];
          in.template dots<Pair::kSpan>(w, t, b, i, dots);
          for (int k = 0; k < kTokens; k++) part[t + k] = vfmaq_f32(part[t + k], vcvtq_f32_s32(dots[k]), d[k]);
        }
      }
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; t++) acc[t][q] = vfmaq_f32(acc[t][q], part[t], in.scale(t));
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
  Inputs<T>::sort(acc);
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
#if defined(SKV_I8MM)
    for (; t + 16 <= t1; t += 16) tile<16>(w, a, w.group(g), t, out, stride, g * kRows);
#endif
    for (; t + 8 <= t1; t += 8) tile<8>(w, a, w.group(g), t, out, stride, g * kRows);
    for (; t + 4 <= t1; t += 4) tile<4>(w, a, w.group(g), t, out, stride, g * kRows);
    for (; t < t1; t++) tile<1>(w, a, w.group(g), t, out, stride, g * kRows);
  });
}

bool has_dotprod() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }

}  // namespace
}  // namespace skv
#endif
