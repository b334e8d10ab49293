// Scalars of a policy's expressions, on every target. dsl/math.ts has the same operations in the same order, rounded to
// f32 after each: a policy gives the same bits in JavaScript and here. Nothing may contract (-ffp-contract=off,
// -fmad=false). The preludes define SKV_INLINE, then vectors.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

SKV_INLINE int32_t skv_bits(float x) {
  int32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}

SKV_INLINE float skv_float(int32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

// c ? a : b, where c is the same for all slots.
SKV_INLINE float skv_chosen(bool c, float a, float b) {
  const uint32_t yes = 0u - (uint32_t)c;
  return skv_float((int32_t)(((uint32_t)skv_bits(a) & yes) | ((uint32_t)skv_bits(b) & ~yes)));
}

// A number's bits as a whole number that sorts like it: NaN lowest, -0 equal to +0. And the number of one.
SKV_INLINE uint32_t skv_ordered(float x) {
  const int32_t bits = skv_bits(x + 0.0f);
  return x != x ? 0 : bits < 0 ? ~(uint32_t)bits : (uint32_t)bits | 0x80000000u;
}
SKV_INLINE float skv_of_ordered(uint32_t ordered) {
  return skv_float((int32_t)(ordered & 0x80000000u ? ordered & 0x7fffffffu : ~ordered));
}

// e^x within 2 ulp; 0 below -87, infinity above 88.7228. x = k ln 2 + r, a polynomial in r, k added to the exponent.
SKV_INLINE float skv_exp(float x) {
  const float c = x > 88.7228f ? 88.7228f : x < -87.0f ? -87.0f : x;
  const float k = (c * 1.44269504f + 12582912.0f) - 12582912.0f;
  const float r = (c - k * 0.693359375f) - k * -2.12194440e-4f;
  float p = 1.98756915e-4f;
  p = p * r + 1.39819995e-3f;
  p = p * r + 8.33345191e-3f;
  p = p * r + 4.16657962e-2f;
  p = p * r + 1.66666657e-1f;
  p = p * r + 0.5f;
  const float y = (p * (r * r) + r) + 1.0f;
  const float scaled = skv_float(skv_bits(y) + (int32_t)k * (1 << 23));
  return x != x ? x : x > 88.7228f ? INFINITY : x < -87.0f ? 0.0f : scaled;
}

// Natural logarithm within 2 ulp on normal numbers; subnormals count as 0. x = 2^e m, m in [sqrt(1/2), sqrt(2)).
SKV_INLINE float skv_log(float x) {
  const int32_t bits = skv_bits(x);
  const int32_t e0 = (bits >> 23) - 126;
  const float m0 = skv_float((bits & 0x007fffff) | 0x3f000000);
  const bool low = m0 < 0.707106769f;
  const float e = (float)(low ? e0 - 1 : e0);
  const float m = low ? (m0 + m0) - 1.0f : m0 - 1.0f;
  const float z = m * m;
  float p = 7.03768358e-2f;
  p = p * m + -1.15146101e-1f;
  p = p * m + 1.16769984e-1f;
  p = p * m + -1.24201410e-1f;
  p = p * m + 1.42493233e-1f;
  p = p * m + -1.66680574e-1f;
  p = p * m + 2.00007141e-1f;
  p = p * m + -2.49999940e-1f;
  p = p * m + 3.33333313e-1f;
  float y = (p * m) * z;
  y = y + e * -2.12194440e-4f;
  y = y - 0.5f * z;
  const float result = (m + y) + e * 0.693359375f;
  return x != x ? x : x < 0.0f ? NAN : x < 1.17549435e-38f ? -INFINITY : x == INFINITY ? x : result;
}

SKV_INLINE float skv_sigmoid(float x) { return 1.0f / (1.0f + skv_exp(-x)); }

SKV_INLINE float skv_tanh(float x) {
  const float a = x < 0.0f ? -x : x;
  const float t = 1.0f - 2.0f / (skv_exp(a + a) + 1.0f);
  return x != x ? x : x < 0.0f ? -t : t;
}

// x^y for x >= 0 as exp(y log x); a negative x gives NaN, x^0 is 1.
SKV_INLINE float skv_pow(float x, float y) {
  const float p = skv_exp(y * skv_log(x));
  return y == 0.0f ? 1.0f : x < 0.0f ? NAN : p;
}

SKV_INLINE float skv_sqrt(float x) { return sqrtf(x); }
SKV_INLINE float skv_abs(float x) { return skv_float(skv_bits(x) & 0x7fffffff); }
SKV_INLINE float skv_floor(float x) { return floorf(x); }
SKV_INLINE float skv_ceil(float x) { return ceilf(x); }
SKV_INLINE float skv_sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
// The first argument unless the second is smaller (larger): NaN in the second is ignored, in the first it stays.
SKV_INLINE float skv_min(float a, float b) { return b < a ? b : a; }
SKV_INLINE float skv_max(float a, float b) { return b > a ? b : a; }
SKV_INLINE float skv_clamp(float x, float low, float high) { return skv_min(skv_max(x, low), high); }
