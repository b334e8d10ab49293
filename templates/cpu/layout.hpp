// Pages on the CPU, and how a step's rows map onto them.
//
//   page   keys   [head_dim / 2][16 slots][2]   one 64-byte line of bf16 is two dims of all slots
//          values [8][head_dim][2]              a line is two slots of 16 dims
//          (f32: keys [head_dim][16 slots], values [16 slots][head_dim])
//          lanes  [lane][16 slots] 32-bit words: position, then what the plan lists, the states last
//
// A dot-product instruction multiplies 16 pairs of bf16 by 16 pairs and adds each product of two to one of 16 sums. A
// query pair of two dims, broadcast, meets two dims of 16 slots: 16 logits. A pair of two slots' probabilities meets
// two slots of 16 dims: 16 sums of values. Elsewhere a pair is two terms, a multiply-add each: its odd element, then
// its even one.
#pragma once
#include "fused.hpp"
#include "head.hpp"

// Keys and values in bf16: rounded to nearest even when stored. Queries and probabilities that meet them are rounded
// too and products added in f32, the odd element of a pair first: what AVX-512's dot-product instruction does, and two
// fused multiply-adds where there is none. Arm's adds in another order.
struct Bf16 {
  using Word = uint16_t;
  using Pair = uint32_t;  // two neighbouring dims of a key
  using Pairs = u32x16;   // 16 of them
  SKV_INLINE Word encode(float x) {
    const uint32_t bits = (uint32_t)skv_bits(x);
    return x != x ? 0x7fc0 : (Word)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
  SKV_INLINE float decode(Word x) { return skv_float((int32_t)x << 16); }
  SKV_INLINE Pair pair(float even, float odd) { return encode(even) | (Pair)encode(odd) << 16; }
  SKV_INLINE f32x16 even_of(Pairs p) { return (f32x16)(p << 16); }
  SKV_INLINE f32x16 odd_of(Pairs p) { return (f32x16)(p & 0xffff0000u); }
  SKV_INLINE Pairs pairs_of(f32x16 even, f32x16 odd) {
    Pairs pairs;
    for (int l = 0; l < 16; l++) pairs[l] = pair(even[l], odd[l]);
    return pairs;
  }
  // Of a page: dims 2j and 2j + 1 of all slots; slots 2i and 2i + 1 of dims d … d + 15.
  SKV_INLINE Pairs key_pairs(const Word* keys, int j) { return *(const Pairs*)(keys + 32 * j); }
  // Dims 2j and 2j + 1 of a register of slots from slot s.
  SKV_INLINE Two key_two(const Word* keys, int j, int s) {
    const u32xN pairs = *(const u32xN*)(keys + 32 * j + 2 * s);
    return {(f32xN)(pairs << 16), (f32xN)(pairs & 0xffff0000u)};
  }
  SKV_INLINE void put_key_pairs(Word* keys, int j, Pairs pairs) { *(Pairs*)(keys + 32 * j) = pairs; }
  SKV_INLINE void put_key_pair(Word* keys, int j, int slot, Pair p) { ((Pair*)keys)[16 * j + slot] = p; }
  SKV_INLINE Pairs value_pairs(const Word* values, int i, int d, int dim) {
    return *(const Pairs*)(values + 2 * (i * dim + d));
  }
  // Dims d … d + 15 of a slot. The newest slot's neighbour is multiplied by 0 until it comes: no NaN may lie in wait.
  SKV_INLINE void put_value(Word* values, int slot, int d, int dim, f32x16 x) {
    auto* pairs = (Pairs*)(values + 2 * (slot / 2 * dim + d));
    const f32x16 none = splat(0);
    *pairs = slot % 2 ? (*pairs & 0xffffu) | (pairs_of(none, x) & 0xffff0000u) : pairs_of(x, none);
  }
  // All dims of slot `from` to slot `to`, whose neighbour stays as it is.
  SKV_INLINE void move_value(const Word* values, int from, Word* out, int to, int dim) {
    for (int d = 0; d < dim; d += 16) {
      const Pairs pairs = value_pairs(values, from / 2, d, dim);
      auto* pair = (Pairs*)(out + 2 * (to / 2 * dim + d));
      const Pairs low = from % 2 ? pairs >> 16 : pairs & 0xffffu;
      *pair = to % 2 ? (*pair & 0xffffu) | low << 16 : (*pair & 0xffff0000u) | low;
    }
  }
  template <class W>  // Word, or a constant one
  SKV_INLINE W* value_at(W* values, int d, int slot, int dim) {
    return values + 2 * (slot / 2 * dim + d) + slot % 2;
  }

  // What the products multiply. Multiplier: two neighbouring dims of a query, or two neighbouring slots' probabilities.
  static constexpr bool kAmx = false;
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  static constexpr bool kMatrices = true;
#else
  static constexpr bool kMatrices = false;
#endif
#if defined(__AVX512BF16__) || defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  static constexpr int kTerms = 1;  // of a pair
  using Multiplier = Pair;
  using Operand = u32xN;  // a register of pairs, or of one term of them
  SKV_INLINE Operand operand(const Word* pairs, int) { return in_register(*(const Operand*)pairs); }
  SKV_INLINE Operand broadcast(const Multiplier& m, int) { return m - Operand{}; }
  // dot: acc + a . b; pack, unpack: numbers in order as multipliers, and back.
#if defined(__AVX512BF16__)
  SKV_INLINE f32xN dot(Operand a, Operand b, f32xN acc) {
    return (f32xN)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b);
  }
  SKV_INLINE void pack(f32xN x, Multiplier* to) { *(__m256i*)to = (__m256i)_mm512_cvtneps_pbh((__m512)x); }
  SKV_INLINE f32xN unpack(const Multiplier* from) {
    return (f32xN)_mm512_slli_epi32(_mm512_cvtepu16_epi32(*(const __m256i*)from), 16);
  }
#else  // the two products of a pair are added first, both rounded to odd: other bits than elsewhere
  SKV_INLINE f32xN dot(Operand a, Operand b, f32xN acc) {
    return vbfdotq_f32(acc, vreinterpretq_bf16_u32(a), vreinterpretq_bf16_u32(b));
  }
  // Two pairs at a time: bfmmla multiplies two rows of two pairs with two columns, pair by pair as dot() does. Of the
  // rows' sums x and y hold two columns each until they are sorted.
  using TwoMultipliers = uint32x2_t;
  SKV_INLINE TwoMultipliers two(const Multiplier* m) { return vld1_u32(m); }
  SKV_INLINE TwoMultipliers one(const Multiplier* m) { return vld1_lane_u32(m, vdup_n_u32(0), 0); }
  SKV_INLINE void multiply(f32xN& x, f32xN& y, TwoMultipliers row0, TwoMultipliers row1, Operand a, Operand b) {
    const bfloat16x8_t rows = vreinterpretq_bf16_u32(vcombine_u32(row0, row1));
    x = vbfmmlaq_f32(x, rows, vreinterpretq_bf16_u32(vzip1q_u32(a, b)));
    y = vbfmmlaq_f32(y, rows, vreinterpretq_bf16_u32(vzip2q_u32(a, b)));
  }
  SKV_INLINE f32xN dot_two(Operand a, Operand b, TwoMultipliers row, f32xN acc) {
    return dot(b, vdupq_lane_u32(row, 1), dot(a, vdupq_lane_u32(row, 0), acc));
  }
  SKV_INLINE void sort(f32xN& x, f32xN& y) {
    const float64x2_t low = vreinterpretq_f64_f32(x), high = vreinterpretq_f64_f32(y);
    x = vreinterpretq_f32_f64(vzip1q_f64(low, high));
    y = vreinterpretq_f32_f64(vzip2q_f64(low, high));
  }
  SKV_INLINE void pack(f32xN x, Multiplier* to) { vst1_bf16((bfloat16_t*)to, vcvt_bf16_f32(x)); }
  SKV_INLINE f32xN unpack(const Multiplier* from) { return (f32xN)vshll_n_u16(vld1_u16((const uint16_t*)from), 16); }
#endif
#else
  // They are widened when they are read: once for all rows of a block, and once for ever where they meet every key.
  static constexpr int kTerms = 2;
  struct Multiplier {
    float even, odd;
  };
  using Operand = f32xN;
  SKV_INLINE Operand operand(const Word* pairs, int term) {
    const u32xN x = *(const u32xN*)pairs;
    return (f32xN)(term ? x << 16 : x & 0xffff0000u);
  }
  SKV_INLINE Operand broadcast(const Multiplier& m, int term) { return splat<f32xN>(term ? m.even : m.odd); }
  SKV_INLINE f32xN dot(Operand a, Operand b, f32xN acc) { return fma(a, b, acc); }
  SKV_INLINE void pack(f32xN x, Multiplier* to) {
    const u32xN bits = (u32xN)x, rounded = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    *(f32xN*)to = x == x ? (f32xN)rounded : (f32xN)(0x7fc00000u - u32xN{});
  }
  SKV_INLINE f32xN unpack(const Multiplier* from) { return *(const f32xN*)from; }
#endif
  // From slot s of dims 2j and 2j + 1; from dim d of slots 2i and 2i + 1.
  SKV_INLINE Operand key_operand(const Word* keys, int j, int s, int term) {
    return operand(keys + 32 * j + 2 * s, term);
  }
  SKV_INLINE Operand value_operand(const Word* values, int i, int d, int dim, int term) {
    return operand(values + 2 * (i * dim + d), term);
  }
};

// The same, multiplied by AMX's tiles (products_amx.hpp).
struct Bf16Amx : Bf16 {
  static constexpr bool kAmx = true;
};

// Keys and values in f32, exact: pairs are two registers.
struct F32 {
  using Word = float;
  struct Pair {
    float even, odd;
  };
  struct Pairs {
    f32x16 even, odd;
  };
  SKV_INLINE Word encode(float x) { return x; }
  SKV_INLINE float decode(Word x) { return x; }
  SKV_INLINE Pair pair(float even, float odd) { return {even, odd}; }
  SKV_INLINE f32x16 even_of(Pairs p) { return p.even; }
  SKV_INLINE f32x16 odd_of(Pairs p) { return p.odd; }
  SKV_INLINE Pairs pairs_of(f32x16 even, f32x16 odd) { return {even, odd}; }
  SKV_INLINE Pairs key_pairs(const Word* keys, int j) {
    return {*(const f32x16*)(keys + 32 * j), *(const f32x16*)(keys + 32 * j + 16)};
  }
  SKV_INLINE Two key_two(const Word* keys, int j, int s) {
    return {*(const f32xN*)(keys + 32 * j + s), *(const f32xN*)(keys + 32 * j + 16 + s)};
  }
  SKV_INLINE void put_key_pairs(Word* keys, int j, Pairs pairs) {
    *(f32x16*)(keys + 32 * j) = pairs.even;
    *(f32x16*)(keys + 32 * j + 16) = pairs.odd;
  }
  SKV_INLINE void put_key_pair(Word* keys, int j, int slot, Pair p) {
    keys[32 * j + slot] = p.even;
    keys[32 * j + 16 + slot] = p.odd;
  }
  SKV_INLINE Pairs value_pairs(const Word* values, int i, int d, int dim) {
    return {*(const f32x16*)(values + 2 * i * dim + d), *(const f32x16*)(values + (2 * i + 1) * dim + d)};
  }
  SKV_INLINE void put_value(Word* values, int slot, int d, int dim, f32x16 x) {
    *(f32x16*)(values + slot * dim + d) = x;
    if (slot % 2 == 0) *(f32x16*)(values + (slot + 1) * dim + d) = splat(0);
  }
  SKV_INLINE void move_value(const Word* values, int from, Word* out, int to, int dim) {
    for (int d = 0; d < dim; d += 16) *(f32x16*)(out + to * dim + d) = *(const f32x16*)(values + from * dim + d);
  }
  template <class W>
  SKV_INLINE W* value_at(W* values, int d, int slot, int dim) {
    return values + slot * dim + d;
  }

  static constexpr bool kAmx = false, kMatrices = false;
  static constexpr int kTerms = 2;
  using Multiplier = Pair;
  using Operand = f32xN;
  SKV_INLINE Operand broadcast(const Multiplier& m, int term) { return splat<f32xN>(term ? m.even : m.odd); }
  SKV_INLINE f32xN dot(Operand a, Operand b, f32xN acc) { return fma(a, b, acc); }
  SKV_INLINE void pack(f32xN x, Multiplier* to) { *(f32xN*)to = x; }
  SKV_INLINE f32xN unpack(const Multiplier* from) { return *(const f32xN*)from; }
  SKV_INLINE Operand key_operand(const Word* keys, int j, int s, int term) {
    return *(const f32xN*)(keys + 32 * j + (term ? 0 : 16) + s);
  }
  SKV_INLINE Operand value_operand(const Word* values, int i, int d, int dim, int term) {
    return *(const f32xN*)(values + (2 * i + (term ? 0 : 1)) * dim + d);
  }
};

// A head whose pages hold one type of keys and values.
template <class KV>
struct Head : AnyHead {
  using Word = typename KV::Word;
  Head(const skv_step* s, const skv_row* r, int l, int h) : AnyHead(s, r, l, h, sizeof(Word)) {}
  explicit Head(const AnyHead& any) : AnyHead(any) {}
  skv_page_layout layout() const { return skv_layout_of(dim, sizeof(Word), shape->lanes); }
  Word* keys(int p) const { return (Word*)(page(p) + layout().keys); }
  Word* values(int p) const { return (Word*)(page(p) + layout().values); }
};
