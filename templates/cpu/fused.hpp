// What kernels do with sixteen floats that the compiler's own vectors do not say: the machine's instructions. A
// policy's passes need none of them, so their compiler need not read the headers of all.
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "simd.hpp"

// a * b + c, fused where the machine has it: the same operation in every tile size, so that bits do not depend on
// tiling.
SKV_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
#if defined(__AVX512F__)
  return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  union {
    f32x16 v;
    __m256 h[2];
  } x = {a}, y = {b}, z = {c};
  for (int i = 0; i < 2; i++) z.h[i] = _mm256_fmadd_ps(x.h[i], y.h[i], z.h[i]);
  return z.v;
#elif defined(__aarch64__)
  union {
    f32x16 v;
    float32x4_t q[4];
  } x = {a}, y = {b}, z = {c};
  for (int i = 0; i < 4; i++) z.q[i] = vfmaq_f32(z.q[i], x.q[i], y.q[i]);
  return z.v;
#else
  return a * b + c;
#endif
}

// The larger of each lane; of a NaN in a, b.
SKV_INLINE f32x16 larger(f32x16 a, f32x16 b) {
#if defined(__AVX512F__)
  return (f32x16)_mm512_max_ps((__m512)a, (__m512)b);
#else
  return a > b ? a : b;
#endif
}

// Lane l with lane l ^ W.
template <int W>
SKV_INLINE f32x16 crossed(f32x16 v) {
  u32x16 lane;
  for (uint32_t l = 0; l < 16; l++) lane[l] = l ^ W;
  return __builtin_shuffle(v, lane);
}

SKV_INLINE float max_of(f32x16 v) {
  v = larger(v, crossed<8>(v));
  v = larger(v, crossed<4>(v));
  v = larger(v, crossed<2>(v));
  return larger(v, crossed<1>(v))[0];
}

// The sum of all lanes, in skv_tree's order.
SKV_INLINE float sum_of(f32x16 v) {
  v += crossed<8>(v);
  v += crossed<4>(v);
  v += crossed<2>(v);
  return (v + crossed<1>(v))[0];
}

// e^x for x <= 0 within 2^-21, never below e^-87: attention's own, with fused multiply-adds.
SKV_INLINE f32x16 exp16(f32x16 x) {
  x = larger(x, splat(-87.0f));
  const f32x16 t = fma(x, splat(1.44269504f), splat(12582912.0f)), k = t - splat(12582912.0f);
  const f32x16 r = fma(k, splat(-0.693147182f), x);
  f32x16 p = splat(8.29022937e-3f);
  p = fma(p, r, splat(4.18983884e-2f));
  p = fma(p, r, splat(1.66676402e-1f));
  p = fma(p, r, splat(4.99991447e-1f));
  p = fma(p, r, splat(9.99999702e-1f));
  p = fma(p, r, splat(1.0f));
  return (f32x16)((u32x16)p + ((u32x16)t << 23));  // the low bits of t are k
}

// One step of a transpose: blocks off the diagonal change places.
template <int W>
SKV_INLINE void swap_blocks(f32x16* m) {
  u32x16 low, high;
  for (uint32_t l = 0; l < 16; l++) {
    low[l] = l & W ? 16 + (l ^ W) : l;
    high[l] = l & W ? 16 + l : l ^ W;
  }
  for (int i = 0; i < 16; i++)
    if (!(i & W)) {
      const f32x16 a = m[i], b = m[i | W];
      m[i] = __builtin_shuffle(a, b, low);
      m[i | W] = __builtin_shuffle(a, b, high);
    }
}

// 16 x 16 in registers.
SKV_INLINE void transpose(f32x16* m) {
  swap_blocks<8>(m);
  swap_blocks<4>(m);
  swap_blocks<2>(m);
  swap_blocks<1>(m);
}
