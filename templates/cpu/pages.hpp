// Pages on the CPU, and how a step's rows map onto them.
//
//   page   keys   [head_dim / 2][16 slots][2]   one 64-byte line of bf16 is two dims of all slots
//          values [8][head_dim][2]              a line is two slots of 16 dims
//          (f32: keys [head_dim][16 slots], values [16 slots][head_dim])
//          lanes  [lane][16 slots] 32-bit words: position, then what the plan lists, the states last
#pragma once
#include <type_traits>

#include "abi.h"
#include "layout.h"
#include "prelude.hpp"
#include "shared/traits.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef float f32x16 __attribute__((vector_size(64), aligned(64)));
typedef float f32x16u __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u32x16 __attribute__((vector_size(64), aligned(64)));
typedef int32_t i32x16 __attribute__((vector_size(64), aligned(64)));
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

// Lanes [0, n) of one, the rest of another.
SKV_INLINE f32x16 first_of(int n, f32x16 one, f32x16 other) {
  const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lane < n - (i32x16){} ? one : other;
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

SKV_INLINE float top_of(f32x16 v) {
  v = larger(v, crossed<8>(v)), v = larger(v, crossed<4>(v)), v = larger(v, crossed<2>(v));
  return larger(v, crossed<1>(v))[0];
}

// The sum of all lanes, in skv_tree's order.
SKV_INLINE float sum_of(f32x16 v) {
  v += crossed<8>(v), v += crossed<4>(v), v += crossed<2>(v);
  return (v + crossed<1>(v))[0];
}

// e^x for x <= 0 within 2^-21, never below e^-87: attention's own, with fused multiply-adds.
SKV_INLINE f32x16 exp16(f32x16 x) {
  x = larger(x, splat(-87.0f));
  const f32x16 t = fma(x, splat(1.44269504f), splat(12582912.0f)), k = t - splat(12582912.0f);
  const f32x16 r = fma(k, splat(-0.693147182f), x);
  f32x16 p = splat(8.29022937e-3f);
  p = fma(p, r, splat(4.18983884e-2f)), p = fma(p, r, splat(1.66676402e-1f)), p = fma(p, r, splat(4.99991447e-1f));
  p = fma(p, r, splat(9.99999702e-1f)), p = fma(p, r, splat(1.0f));
  return (f32x16)((u32x16)p + ((u32x16)t << 23));  // the low bits of t are k
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

// Keys and values in bf16: rounded to nearest even when stored. Queries and probabilities that meet them are rounded
// too and products added in f32, the odd element of a pair first: what one dot-product instruction does with a Line (16
// pairs: two dims of 16 slots, or two slots of 16 dims), and two fused multiply-adds where there is no such
// instruction.
struct Bf16 {
  using Word = uint16_t;
  using Pair = uint32_t;  // two neighbouring elements of a query, or two neighbouring probabilities
  using Line = u32x16;
  SKV_INLINE Word encode(float x) {
    const uint32_t bits = (uint32_t)skv_bits(x);
    return x != x ? 0x7fc0 : (Word)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  // Keeps a line in its register: GCC would rather read it again for every row that uses it.
  SKV_INLINE Line hold(Line line) {
#if defined(__AVX512F__)
    asm("" : "+v"(line));
#endif
    return line;
  }
  SKV_INLINE Pair pair(float even, float odd) { return encode(even) | (Pair)encode(odd) << 16; }
  SKV_INLINE u32x16 spread(Pair p) { return p - (u32x16){}; }
  SKV_INLINE f32x16 dot(Line line, u32x16 pair, f32x16 acc) {
#if defined(__AVX512BF16__)
    return (f32x16)_mm512_dpbf16_ps((__m512)acc, (__m512bh)line, (__m512bh)pair);
#else
    return fma(even_of(line), even_of(pair), fma(odd_of(line), odd_of(pair), acc));
#endif
  }
  SKV_INLINE f32x16 even_of(Line line) { return (f32x16)(line << 16); }
  SKV_INLINE f32x16 odd_of(Line line) { return (f32x16)(line & 0xffff0000u); }
  SKV_INLINE Line line_of(f32x16 even, f32x16 odd) {
    Line line;
    for (int l = 0; l < 16; l++) line[l] = pair(even[l], odd[l]);
    return line;
  }
  // 16 numbers as 8 pairs.
  SKV_INLINE void put_pairs(f32x16 x, Pair* to) {
#if defined(__AVX512BF16__)
    *(__m256i*)to = (__m256i)_mm512_cvtneps_pbh((__m512)x);
#else
    for (int i = 0; i < 8; i++) to[i] = pair(x[2 * i], x[2 * i + 1]);
#endif
  }
  SKV_INLINE f32x16 of_pairs(const Pair* from) {
#if defined(__AVX512F__)
    return (f32x16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(*(const __m256i*)from), 16);
#else
    return (f32x16)(__builtin_convertvector(*(const u16x16*)from, u32x16) << 16);
#endif
  }
  // Dims 2j and 2j + 1 of all slots; slots 2i and 2i + 1 of dims d … d + 15.
  SKV_INLINE Line key_line(const Word* keys, int j) { return *(const Line*)(keys + 32 * j); }
  SKV_INLINE void put_key_line(Word* keys, int j, Line line) { *(Line*)(keys + 32 * j) = line; }
  SKV_INLINE void put_key_pair(Word* keys, int j, int slot, Pair p) { ((Pair*)keys)[16 * j + slot] = p; }
  SKV_INLINE Line value_line(const Word* values, int i, int d, int dim) {
    return *(const Line*)(values + 2 * (i * dim + d));
  }
  // Dims d … d + 15 of a slot. The newest slot's neighbour is multiplied by 0 until it comes: no NaN may lie in wait.
  SKV_INLINE void put_value(Word* values, int slot, int d, int dim, f32x16 x) {
    auto* line = (Line*)(values + 2 * (slot / 2 * dim + d));
    const f32x16 none = splat(0);
    *line = slot % 2 ? (*line & 0xffffu) | (line_of(none, x) & 0xffff0000u) : line_of(x, none);
  }
  SKV_INLINE Word* key_at(Word* keys, int d, int slot) { return keys + d / 2 * 32 + slot * 2 + d % 2; }
  SKV_INLINE Word* value_at(Word* values, int d, int slot, int dim) {
    return values + 2 * (slot / 2 * dim + d) + slot % 2;
  }
};

// Keys and values in f32, exact: a line is two registers.
struct F32 {
  using Word = float;
  struct Pair {
    float even, odd;
  };
  struct Line {
    f32x16 even, odd;
  };
  SKV_INLINE Word encode(float x) { return x; }
  SKV_INLINE Line hold(Line line) { return line; }
  SKV_INLINE Pair pair(float even, float odd) { return {even, odd}; }
  SKV_INLINE Line spread(Pair p) { return {splat(p.even), splat(p.odd)}; }
  SKV_INLINE f32x16 dot(Line line, Line pair, f32x16 acc) {
    return fma(line.even, pair.even, fma(line.odd, pair.odd, acc));
  }
  SKV_INLINE f32x16 even_of(Line line) { return line.even; }
  SKV_INLINE f32x16 odd_of(Line line) { return line.odd; }
  SKV_INLINE Line line_of(f32x16 even, f32x16 odd) { return {even, odd}; }
  SKV_INLINE void put_pairs(f32x16 x, Pair* to) { *(f32x16*)to = x; }
  SKV_INLINE f32x16 of_pairs(const Pair* from) { return *(const f32x16*)from; }
  SKV_INLINE Line key_line(const Word* keys, int j) {
    return {*(const f32x16*)(keys + 32 * j), *(const f32x16*)(keys + 32 * j + 16)};
  }
  SKV_INLINE void put_key_line(Word* keys, int j, Line line) {
    *(f32x16*)(keys + 32 * j) = line.even, *(f32x16*)(keys + 32 * j + 16) = line.odd;
  }
  SKV_INLINE void put_key_pair(Word* keys, int j, int slot, Pair p) {
    keys[32 * j + slot] = p.even, keys[32 * j + 16 + slot] = p.odd;
  }
  SKV_INLINE Line value_line(const Word* values, int i, int d, int dim) {
    return {*(const f32x16*)(values + 2 * i * dim + d), *(const f32x16*)(values + (2 * i + 1) * dim + d)};
  }
  SKV_INLINE void put_value(Word* values, int slot, int d, int dim, f32x16 x) {
    *(f32x16*)(values + slot * dim + d) = x;
    if (slot % 2 == 0) *(f32x16*)(values + (slot + 1) * dim + d) = splat(0);
  }
  SKV_INLINE Word* key_at(Word* keys, int d, int slot) { return keys + d * 16 + slot; }
  SKV_INLINE Word* value_at(Word* values, int d, int slot, int dim) { return values + slot * dim + d; }
};

SKV_INLINE int pages_of(int slots) { return (slots + SKV_PAGE - 1) / SKV_PAGE; }

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
  skv_page_layout layout() const { return skv_layout_of(dim, sizeof(Word), shape->lanes); }
  Word* keys(int p) const { return (Word*)(page(p) + layout().keys); }
  Word* values(int p) const { return (Word*)(page(p) + layout().values); }
  int32_t* lane(int p, int lane) const { return (int32_t*)(page(p) + layout().lanes) + lane * SKV_PAGE; }
  float* state(int p, int first, int s) const { return (float*)lane(p, first + s); }
  int64_t token(int t) const { return row->token0 + t; }
  // Queries of this head's group for a token: [group][dim].
  const float* query(int t) const { return step->q + (token(t) * shape->kv_heads + head) * shape->group * dim; }
  float* out(int t) const { return step->out + (token(t) * shape->kv_heads + head) * shape->group * dim; }
  float* lse(int t) const { return step->lse + (token(t) * shape->kv_heads + head) * shape->group; }
};

// How items are dealt out to the engine's threads; see skv_exec.
enum class Deal { in_order, near };

// Runs fn(item, worker) for items [0, n) on the engine's threads.
template <class Fn>
SKV_INLINE void each(const skv_exec* exec, int32_t n, Deal deal, Fn&& fn) {
  exec->parallel(
      exec->self, n, deal == Deal::near,
      [](void* arg, int32_t item, int32_t worker) { (*(std::remove_reference_t<Fn>*)arg)(item, worker); }, &fn);
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

// Stores keys, values and lanes of a row's tokens in slots [slot0, slot1): the last of its length are the row's.
template <class P, class KV>
void store(const Head<KV>& h, int slot0, int slot1) {
  const skv_step* step = h.step;
  for (int slot = slot0; slot < slot1; slot++) {
    const int t = slot - (*h.length - h.row->tokens), p = slot / SKV_PAGE, s = slot % SKV_PAGE;
    const float* k = step->k + (h.token(t) * h.shape->kv_heads + h.head) * h.dim;
    const float* v = step->v + (h.token(t) * h.shape->kv_heads + h.head) * h.dim;
    auto *keys = h.keys(p), *values = h.values(p);
    typename KV::Pair pairs[kMaxDim / 2];
    for (int j = 0; j < h.dim / 2; j++) pairs[j] = KV::pair(k[2 * j], k[2 * j + 1]);
    for (int j = 0; j < h.dim / 2; j++) KV::put_key_pair(keys, j, s, pairs[j]);
    for (int d = 0; d < h.dim; d += 16) KV::put_value(values, s, d, h.dim, *(const f32x16u*)(v + d));
    h.lane(p, 0)[s] = h.row->pos0 + t;
    if (P::shift_lane) h.lane(p, P::shift_lane)[s] = 0;
    if (P::class_lane) h.lane(p, P::class_lane)[s] = step->classes[h.token(t)];
    for (int i = 0; i < P::states; i++) h.state(p, P::first_state, i)[s] = P::init(i);
  }
}

// Raises the lengths and stores the new tokens; of a row of one token, attend does that when it is about to read them.
template <class P, class KV>
int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec) {
  const int heads = step->shape->kv_heads;
  int most = 0;
  for (int r = 0; r < step->rows; r++) {
    const skv_row* row = step->row + r;
    if (row->policy != step->self) continue;
    most = row->tokens > most ? row->tokens : most;
    for (int h = 0; h < heads; h++) *Head<KV>(step, row, layer, h).length += row->tokens;
  }
  if (most <= 1) return 0;
  constexpr int kSlots = 4 * SKV_PAGE;  // of an item; two slots share a line of values, so items end with pages
  const int pieces = most / kSlots + 2;
  each(exec, step->rows * heads * pieces, Deal::near, [&](int32_t item, int32_t) {
    const skv_row* row = step->row + item / (heads * pieces);
    if (row->policy != step->self || row->tokens <= 1) return;
    const Head<KV> h(step, row, layer, item / pieces % heads);
    const int before = *h.length - row->tokens, from = before / kSlots * kSlots + item % pieces * kSlots;
    store<P>(h, from > before ? from : before, from + kSlots < *h.length ? from + kSlots : *h.length);
  });
  return 0;
}
