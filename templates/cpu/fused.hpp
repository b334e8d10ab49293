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
SKV_INLINE f32xN fma(f32xN a, f32xN b, f32xN c) {
#if defined(__AVX512F__)
  return (f32xN)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (f32xN)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

// The same number, in a register from here on: GCC would rather read it again, or move it about.
template <class V>
SKV_INLINE V in_register(V x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__FMA__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}

// The larger of each lane; of a NaN in a, b.
SKV_INLINE f32xN larger(f32xN a, f32xN b) {
#if defined(__AVX512F__)
  return (f32xN)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__FMA__)
  return (f32xN)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

#if !defined(__AVX512F__)  // where sixteen floats are several registers
SKV_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  Sixteen x = {a}, y = {b}, z = {c};
  for (int i = 0; i < kRegisters; i++) z.reg[i] = fma(x.reg[i], y.reg[i], z.reg[i]);
  return z.all;
}

SKV_INLINE f32x16 larger(f32x16 a, f32x16 b) {
  Sixteen x = {a}, y = {b};
  for (int i = 0; i < kRegisters; i++) x.reg[i] = larger(x.reg[i], y.reg[i]);
  return x.all;
}
#endif

// Lane l with lane l ^ W.
template <int W>
struct Crossed {
  static constexpr uint32_t of(uint32_t l) { return l ^ W; }
};
template <int W>
SKV_INLINE f32xN crossed(f32xN v) {
  return Shuffle<f32xN, Crossed<W>>()(v);
}

// One of sixteen lanes, halves onto each other in skv_tree's order: add(v, w) for each pair of halves.
template <class Add>
SKV_INLINE float tree_of(const f32xN* v, Add add) {
  f32xN x[kRegisters];
  for (int i = 0; i < kRegisters; i++) x[i] = v[i];
  for (int n = kRegisters / 2; n > 0; n /= 2)
    for (int i = 0; i < n; i++) x[i] = add(x[i], x[i + n]);
  if constexpr (kRegister > 8) x[0] = add(x[0], crossed<8>(x[0]));
  if constexpr (kRegister > 4) x[0] = add(x[0], crossed<4>(x[0]));
  x[0] = add(x[0], crossed<2>(x[0]));
  return add(x[0], crossed<1>(x[0]))[0];
}

SKV_INLINE float max_of(const f32xN* v) {
  return tree_of(v, [](f32xN a, f32xN b) SKV_FLAT { return larger(a, b); });
}

SKV_INLINE float sum_of(const f32xN* v) {
  return tree_of(v, [](f32xN a, f32xN b) SKV_FLAT { return a + b; });
}

// e^x for x <= 0 within 2^-21, never below e^-87: attention's own, with fused multiply-adds. V: f32xN or f32x16.
template <class V>
SKV_INLINE V exp_of(V x) {
  typedef uint32_t Bits __attribute__((vector_size(sizeof(V))));
  x = larger(x, splat<V>(-87.0f));
  const V t = fma(x, splat<V>(1.44269504f), splat<V>(12582912.0f)), k = t - splat<V>(12582912.0f);
  const V r = fma(k, splat<V>(-0.693147182f), x);
  V p = splat<V>(8.29022937e-3f);
  p = fma(p, r, splat<V>(4.18983884e-2f));
  p = fma(p, r, splat<V>(1.66676402e-1f));
  p = fma(p, r, splat<V>(4.99991447e-1f));
  p = fma(p, r, splat<V>(9.99999702e-1f));
  p = fma(p, r, splat<V>(1.0f));
  return (V)((Bits)p + ((Bits)t << 23));  // the low bits of t are k
}

// One step of a transpose: blocks off the diagonal change places.
template <int W>
struct UpperBlocks {
  static constexpr uint32_t of(uint32_t l) { return l & W ? 16 + (l ^ W) : l; }
};
template <int W>
struct LowerBlocks {
  static constexpr uint32_t of(uint32_t l) { return l & W ? 16 + l : l ^ W; }
};
template <int W>
SKV_INLINE void swap_blocks(f32x16* m) {
  const Shuffle<f32x16, UpperBlocks<W>> upper;
  const Shuffle<f32x16, LowerBlocks<W>> lower;
  for (int i = 0; i < 16; i++)
    if (!(i & W)) {
      const f32x16 a = m[i], b = m[i | W];
      m[i] = upper(a, b);
      m[i | W] = lower(a, b);
    }
}

// 16 x 16 in registers.
SKV_INLINE void transpose(f32x16* m) {
  swap_blocks<8>(m);
  swap_blocks<4>(m);
  swap_blocks<2>(m);
  swap_blocks<1>(m);
}
