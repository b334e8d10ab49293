#include "elementwise.h"

#include <cmath>
#include <cstring>

/* The loops below are plain: each is compiled for several instruction sets, and the loader chooses. No multiply and add
 * are contracted (CMakeLists.txt), and sums are split over 16 lanes by hand, so the choice cannot change a bit. clang
 * before 18 would ask the processor for these names in vain. */
#if defined(__x86_64__) && defined(__gnu_linux__) && (!defined(__clang__) || __clang_major__ >= 18)
#define SKV_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SKV_CLONES
#endif

namespace skv {
namespace {

/* Partial sums of a sum: number i goes to lane i % 16, and lanes are added in order. */
constexpr int kLanes = 16;

/* x + kRound - kRound is the integer nearest to x, the even one of two, for |x| < 2^22. */
constexpr float kRound = 12582912.0f;

/* e^x within 2 ulp: x = k ln 2 + r, |r| <= ln 2 / 2, a polynomial in r (that of Cephes' expf), and k
 * added to the exponent. */
inline __attribute__((always_inline)) float exponential(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  const float shifted = x * 1.44269504088896341f + kRound;
  const float k = shifted - kRound;
  const float r = (x - k * 0.693359375f) - k * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float y = p * (r * r) + r + 1.0f;
  int32_t bits;
  memcpy(&bits, &y, 4);
  bits += int32_t(k) * (1 << 23);
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

/* The sum of fn(x[i]). */
template <class Fn>
inline __attribute__((always_inline)) float sum_of(const float* x, int n, Fn fn) {
  float lanes[kLanes] = {0};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) lanes[l] += fn(x[i + l]);
  for (; i < n; i++) lanes[i % kLanes] += fn(x[i]);
  float sum = 0;
  for (float lane : lanes) sum += lane;
  return sum;
}

/* What the gate of an MLP goes through. */
struct Silu {
  static inline __attribute__((always_inline)) float of(float x) { return x / (1.0f + exponential(-x)); }
};
/* (1 + tanh(u)) / 2 = 1 / (1 + e^-2u) */
struct GeluTanh {
  static inline __attribute__((always_inline)) float of(float x) {
    const float u = 0.79788456080286536f * (x + 0.044715f * x * x * x);
    return x / (1.0f + exponential(-2.0f * u));
  }
};
/* erf within 1.5e-7: Abramowitz and Stegun, 7.1.26. */
struct Gelu {
  static inline __attribute__((always_inline)) float of(float x) {
    const float z = x < 0 ? -x * 0.70710678118654752f : x * 0.70710678118654752f;
    const float t = 1.0f / (1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const float tail = p * t * exponential(-z * z); /* 1 - erf(z) */
    return x * (x < 0 ? 0.5f * tail : 1.0f - 0.5f * tail);
  }
};
struct Relu {
  static inline __attribute__((always_inline)) float of(float x) { return x > 0 ? x : 0.0f; }
};

template <class Activation>
inline __attribute__((always_inline)) void gated(float* gate, const float* up, int n) {
  if (up)
    for (int i = 0; i < n; i++) gate[i] = Activation::of(gate[i]) * up[i];
  else
    for (int i = 0; i < n; i++) gate[i] = Activation::of(gate[i]);
}

}  // namespace

SKV_CLONES void rms_norm(const float* x, const float* gain, float eps, int n, float* out) {
  const float squares = sum_of(x, n, [](float v) __attribute__((always_inline)) { return v * v; });
  const float scale = 1.0f / std::sqrt(squares / float(n) + eps);
  for (int i = 0; i < n; i++) out[i] = x[i] * scale * gain[i];
}

SKV_CLONES void layer_norm(const float* x, const float* gain, const float* bias, float eps, int n, float* out) {
  const float mean = sum_of(x, n, [](float v) __attribute__((always_inline)) { return v; }) / float(n);
  const float squares =
      sum_of(x, n, [mean](float v) __attribute__((always_inline)) { return (v - mean) * (v - mean); });
  const float scale = 1.0f / std::sqrt(squares / float(n) + eps);
  for (int i = 0; i < n; i++) out[i] = (x[i] - mean) * scale * gain[i] + (bias ? bias[i] : 0.0f);
}

SKV_CLONES void add(float* x, const float* y, float scale, int n) {
  for (int i = 0; i < n; i++) x[i] += y[i] * scale;
}

SKV_CLONES void scale(float* x, float scale, int n) {
  for (int i = 0; i < n; i++) x[i] *= scale;
}

/* tanh(y) = 1 - 2 / (1 + e^2y) */
SKV_CLONES void soft_cap(float* x, float cap, int n) {
  for (int i = 0; i < n; i++) x[i] = cap * (1.0f - 2.0f / (1.0f + exponential(2.0f * x[i] / cap)));
}

SKV_CLONES void silu(float* gate, const float* up, int n) { gated<Silu>(gate, up, n); }
SKV_CLONES void gelu(float* gate, const float* up, int n) { gated<Gelu>(gate, up, n); }
SKV_CLONES void gelu_tanh(float* gate, const float* up, int n) { gated<GeluTanh>(gate, up, n); }
SKV_CLONES void relu(float* gate, const float* up, int n) { gated<Relu>(gate, up, n); }

SKV_CLONES void rope(float* head, const float* cosine, const float* sine, int dim, bool interleaved) {
  const int half = dim / 2;
  if (interleaved) {
    for (int i = 0; i < half; i++) {
      const float a = head[2 * i], b = head[2 * i + 1];
      head[2 * i] = a * cosine[i] - b * sine[i];
      head[2 * i + 1] = a * sine[i] + b * cosine[i];
    }
  } else {
    for (int i = 0; i < half; i++) {
      const float a = head[i], b = head[half + i];
      head[i] = a * cosine[i] - b * sine[i];
      head[half + i] = a * sine[i] + b * cosine[i];
    }
  }
}

/* n <= kPair inputs to int8 [n], with the scale that they share; returns the largest |x|. */
SKV_CLONES float quantise_pair(const float* x, int n, int8_t* q, float* scale) {
  int32_t peak_bits = 0; /* |x| compares like its bits */
  for (int i = 0; i < n; i++) {
    int32_t bits;
    memcpy(&bits, x + i, 4);
    bits &= 0x7fffffff;
    peak_bits = bits > peak_bits ? bits : peak_bits;
  }
  float peak;
  memcpy(&peak, &peak_bits, 4);
  const float inverse = peak > 1e-30f ? 127.0f / peak : 0.0f; /* below, the quotient would overflow */
  for (int i = 0; i < n; i++) {
    const float shifted = x[i] * inverse + kRound;
    q[i] = int8_t(int32_t(shifted - kRound));
  }
  *scale = peak / 127.0f;
  return peak;
}

SKV_CLONES float outlier_bound(const float* x, int cols) {
  return kOutlier *
         std::sqrt(sum_of(x, cols, [](float v) __attribute__((always_inline)) { return v * v; }) / float(cols));
}

/* n inputs of a pair, and their sums. Returns the largest |x|. */
static float quantise_pair(const Int8Pairs& to, size_t at, const float* x, int n) {
  int8_t* q = to.q + at * kPair;
  const float peak = quantise_pair(x, n, q, &to.scale[at]);
  memset(q + n, 0, kPair - n);
  for (int b = 0; b < 2; b++) {
    int32_t half[2] = {0, 0};
    for (int j = 0; j < kBlock; j++) half[j / 16] += q[b * kBlock + j];
    for (int h = 0; h < 2; h++) {
      to.half_sum[at * 4 + 2 * b + h] = int16_t(half[h]);
      to.half_offset[at * 4 + 2 * b + h] = -kQ6Zero * half[h];
    }
    to.sum[at * 2 + b] = int16_t(half[0] + half[1]);
    to.offset[at * 2 + b] = -kQ8Zero * (half[0] + half[1]);
  }
  return peak;
}

void quantise_generic(const Activations& to, int token, const float* x) {
  const int pairs = pairs_of(to.cols);
  const float bound = to.keeps_fine ? outlier_bound(x, to.cols) : INFINITY;
  uint64_t* has_fine = to.has_fine + size_t(token) * words_of(pairs);
  if (to.keeps_fine) memset(has_fine, 0, words_of(pairs) * sizeof *has_fine);
  for (int i = 0; i < pairs; i++, x += kPair) {
    const size_t at = size_t(token) * pairs + i;
    const int n = to.cols - i * kPair < kPair ? to.cols - i * kPair : kPair;
    const float peak = quantise_pair(to.coarse, at, x, n);
    to.fine.scale[at] = 0;
    if (!(peak > bound)) continue;
    has_fine[i / 64] |= uint64_t(1) << (i % 64);
    float rest[kPair];
    for (int j = 0; j < n; j++) rest[j] = x[j] - float(to.coarse.q[at * kPair + j]) * to.coarse.scale[at];
    quantise_pair(to.fine, at, rest, n);
  }
}

SKV_CLONES float max_of(const float* x, int n) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = -INFINITY;
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
  for (; i < n; i++) lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
  float top = lanes[0];
  for (float lane : lanes) top = lane > top ? lane : top;
  return top;
}

/* In two loops, so that the first needs no order. */
SKV_CLONES double softmax_piece(const float* x, float max, float scale, float least, int n, float* out) {
  for (int i = 0; i < n; i++) {
    const float at = (x[i] - max) * scale;
    const float p = at >= -87.0f ? exponential(at) : 0.0f;
    out[i] = p < least ? 0.0f : p;
  }
  float lanes[kLanes] = {0};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; l++) lanes[l] += out[i + l];
  for (; i < n; i++) lanes[i % kLanes] += out[i];
  double sum = 0;
  for (float lane : lanes) sum += double(lane);
  return sum;
}

}  // namespace skv
