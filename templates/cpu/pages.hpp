// Pages on the CPU, and how a step's rows map onto them.
//
//   page   keys   [head_dim / 2][16 slots][2]   one 64-byte line of bf16 is two dims of all slots
//          values [16 slots][head_dim]
//          lanes  [lane][16 slots] 32-bit words: position, then what the plan lists, the states last
#pragma once
#include "abi.h"
#include "prelude.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef float f32x16 __attribute__((vector_size(64), aligned(64)));
typedef float f32x16u __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u32x16 __attribute__((vector_size(64), aligned(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32), aligned(32)));

SKV_INLINE f32x16 splat(float x) { return x - (f32x16){}; }

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

SKV_INLINE float top_of(f32x16 v) {
  float top = v[0];
  for (int l = 1; l < 16; l++) top = v[l] > top ? v[l] : top;
  return top;
}

SKV_INLINE f32x16 exp16(f32x16 x) {
  f32x16 y;
  for (int l = 0; l < 16; l++) y[l] = skv_exp(x[l]);
  return y;
}

// One step of a transpose: blocks off the diagonal change places.
template <int W>
SKV_INLINE void swap_blocks(f32x16* m) {
  u32x16 low, high;
  for (uint32_t l = 0; l < 16; l++) low[l] = l & W ? 16 + (l ^ W) : l, high[l] = l & W ? 16 + l : l ^ W;
  for (int i = 0; i < 16; i++)
    if (!(i & W)) {
      const f32x16 a = m[i], b = m[i | W];
      m[i] = __builtin_shuffle(a, b, low), m[i | W] = __builtin_shuffle(a, b, high);
    }
}

// 16 x 16 in registers.
SKV_INLINE void transpose(f32x16* m) { swap_blocks<8>(m), swap_blocks<4>(m), swap_blocks<2>(m), swap_blocks<1>(m); }

// What a policy's traits choose from; the names are the language's.
enum class Group { sum, mean, max };
enum class Pool { none, mean, max };
enum class Heads { own, shared, pooled };
enum class Keep { all, topK, above, chunks };

// Keys and values in bf16: rounded to nearest even when stored, exact when read.
struct Bf16 {
  using Word = uint16_t;
  SKV_INLINE Word encode(float x) {
    const uint32_t bits = (uint32_t)skv_bits(x);
    return x != x ? 0x7fc0 : (Word)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  SKV_INLINE float decode(Word w) { return skv_float((int32_t)((uint32_t)w << 16)); }
  // Dims 2j and 2j + 1 of all slots.
  SKV_INLINE void key_pair(const Word* keys, int j, f32x16* even, f32x16* odd) {
    const u32x16 pair = *(const u32x16*)(keys + 32 * j);
    *even = (f32x16)(pair << 16);
    *odd = (f32x16)(pair & 0xffff0000u);
  }
  SKV_INLINE f32x16 value(const Word* at) {
#if defined(__AVX512F__)
    return (f32x16)((u32x16)_mm512_cvtepu16_epi32(*(const __m256i*)at) << 16);
#endif
    return (f32x16)(__builtin_convertvector(*(const u16x16*)at, u32x16) << 16);
  }
  SKV_INLINE int key_at(int d, int slot) { return d / 2 * 32 + slot * 2 + d % 2; }
  SKV_INLINE void copy_key(Word* to, int t, const Word* from, int f, int dim) {
    for (int j = 0; j < dim / 2; j++) memcpy(to + 32 * j + 2 * t, from + 32 * j + 2 * f, 4);
  }
};

// Keys and values in f32: a pair is two lines.
struct F32 {
  using Word = float;
  SKV_INLINE Word encode(float x) { return x; }
  SKV_INLINE float decode(Word w) { return w; }
  SKV_INLINE void key_pair(const Word* keys, int j, f32x16* even, f32x16* odd) {
    *even = *(const f32x16*)(keys + 32 * j);
    *odd = *(const f32x16*)(keys + 32 * j + 16);
  }
  SKV_INLINE f32x16 value(const Word* at) { return *(const f32x16*)at; }
  SKV_INLINE int key_at(int d, int slot) { return d * 16 + slot; }
  SKV_INLINE void put_key(Word* keys, int d, f32x16 x) { *(f32x16*)(keys + key_at(d, 0)) = x; }
  SKV_INLINE void copy_key(Word* to, int t, const Word* from, int f, int dim) {
    for (int d = 0; d < dim; d++) to[d * 16 + t] = from[d * 16 + f];
  }
};

// One KV head of one layer of one row: its pages and counts.
template <class KV>
struct Head {
  using Word = typename KV::Word;
  const skv_step* step;
  const skv_shape* shape;
  const skv_row* row;
  int layer, head;
  const int32_t* table;
  int32_t* length;
  int dim;

  Head(const skv_step* s, const skv_row* r, int l, int h)
      : step(s), shape(s->shape), row(r), layer(l), head(h), dim(s->shape->head_dim) {
    const int64_t index = ((int64_t)r->seq * shape->layers + l) * shape->kv_heads + h;
    table = s->tables + index * shape->table_stride;
    length = s->lengths + index;
  }
  uint8_t* page(int p) const { return step->pool + (int64_t)table[p] * shape->page_bytes; }
  Word* keys(int p) const { return (Word*)page(p); }
  Word* values(int p) const { return keys(p) + SKV_PAGE * dim; }
  int32_t* lane(int p, int lane) const { return (int32_t*)(values(p) + SKV_PAGE * dim) + lane * SKV_PAGE; }
  float* state(int p, int first, int s) const { return (float*)lane(p, first + s); }
  int64_t token(int t) const { return row->token0 + t; }
  // Queries of this head's group for a token: [group][dim].
  const float* query(int t) const { return step->q + (token(t) * shape->kv_heads + head) * shape->group * dim; }
  float* out(int t) const { return step->out + (token(t) * shape->kv_heads + head) * shape->group * dim; }
  float* lse(int t) const { return step->lse + (token(t) * shape->kv_heads + head) * shape->group; }
};

// Runs fn(item, worker) for items [0, n) on the engine's threads.
template <class Fn>
SKV_INLINE void each(const skv_exec* exec, int32_t n, Fn&& fn) {
  exec->parallel(
      exec->self, n, [](void* arg, int32_t item, int32_t worker) { (*(Fn*)arg)(item, worker); }, &fn);
}

// A worker's scratch memory, handed out front to back.
struct Scratch {
  uint8_t* at;
  Scratch(const skv_exec* exec, int32_t worker) : at(exec->scratch + worker * exec->scratch_bytes) {}
  template <class T>
  T* take(int64_t n) {
    T* out = (T*)at;
    at += (n * sizeof(T) + 63) / 64 * 64;
    return out;
  }
};

// Stores the new tokens' keys, values and lanes, and raises the lengths.
template <class P, class KV>
int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec) {
  const int heads = step->shape->kv_heads;
  each(exec, step->rows * heads, [&](int32_t item, int32_t) {
    const skv_row* row = step->row + item / heads;
    if (row->policy != step->self) return;
    const Head<KV> h(step, row, layer, item % heads);
    for (int t = 0; t < row->tokens; t++) {
      const int slot = *h.length + t, p = slot / SKV_PAGE, s = slot % SKV_PAGE;
      const float* k = step->k + (h.token(t) * heads + h.head) * h.dim;
      const float* v = step->v + (h.token(t) * heads + h.head) * h.dim;
      auto *keys = h.keys(p), *values = h.values(p) + s * h.dim;
      for (int d = 0; d < h.dim; d++) keys[KV::key_at(d, s)] = KV::encode(k[d]);
      for (int d = 0; d < h.dim; d++) values[d] = KV::encode(v[d]);
      h.lane(p, 0)[s] = row->pos0 + t;
      if (P::shift_lane) h.lane(p, P::shift_lane)[s] = 0;
      if (P::class_lane) h.lane(p, P::class_lane)[s] = step->classes[h.token(t)];
      for (int i = 0; i < P::states; i++) h.state(p, P::first_state, i)[s] = P::init(i);
    }
    *h.length += row->tokens;
  });
  return 0;
}
