// Pages on CUDA, and how a step's rows map onto them. All in 32-bit words.
//
//   page   keys   [16 slots][head_dim]   neighbouring threads read neighbouring quads of a slot
//          values [16 slots][head_dim]
//          lanes  [lane][16 slots] words: position, then what the plan lists, the states last
#pragma once
#include "layout.h"
#include "prelude.cuh"
#include "shared/traits.hpp"

constexpr uint32_t kFull = 0xffffffffu;
constexpr float kLog2e = 1.44269504f;

SKV_BOTH constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
SKV_BOTH constexpr int smaller(int a, int b) { return a < b ? a : b; }

// Types of keys and values: how many share a word, and their way to f32 and back.
struct Bf16 {
  static constexpr int type = SKV_BF16, per_word = 2;
  SKV_INLINE void decode(uint32_t word, float* out) {
    out[0] = skv_float((int32_t)(word << 16));
    out[1] = skv_float((int32_t)(word & 0xffff0000u));
  }
  SKV_INLINE uint32_t encode(const float* x) { return pack_bf16(x[0], x[1]); }
};

struct F16 {
  static constexpr int type = SKV_F16, per_word = 2;
  SKV_INLINE void decode(uint32_t word, float* out) {
    out[0] = half_to_float((uint16_t)(word & 0xffff));
    out[1] = half_to_float((uint16_t)(word >> 16));
  }
  SKV_INLINE uint32_t encode(const float* x) { return pack_f16(x[0], x[1]); }
};

struct F32 {
  static constexpr int type = SKV_F32, per_word = 1;
  SKV_INLINE void decode(uint32_t word, float* out) { out[0] = skv_float((int32_t)word); }
  SKV_INLINE uint32_t encode(const float* x) { return (uint32_t)skv_bits(x[0]); }
};

// Sizes that follow from a head size and a type.
template <class KV, int D>
struct Layout {
  static constexpr int row = D / KV::per_word;  // words of a slot's key or value
  static constexpr skv_page_layout at = skv_layout_of(D, 4 / KV::per_word, 0);
  static constexpr int keys = at.keys / 4, values = at.values / 4, lanes = at.lanes / 4;  // where they begin
  static constexpr int half = values - keys;         // from a slot's key to its value
  static constexpr int quads = row / 4;              // of a slot's key or value
  static constexpr int per_quad = 4 * KV::per_word;  // elements of a quad
};

template <class KV>
SKV_INLINE void decode_quad(const Quad& quad, float* out) {
  SKV_UNROLL for (int w = 0; w < 4; w++) KV::decode(quad.word[w], out + w * KV::per_word);
}

// A step as kernels see it: skv_step and skv_shape by value, every pointer device memory.
struct Step {
  int layers, kv_heads, group, page_words, table_stride, io_type, max_slots, rope_interleaved, self, layer, rows;
  int window;              // of the layer, skv_layer_shape.window
  float scale, soft_cap;
  const float* inv_freq;   // [head_dim / 2] of the layer, or null
  const skv_row* row;      // [rows]
  uint32_t* pool;          // [page][page_words]
  const int32_t* tables;   // [seq][layer][kv_head][table_stride]
  int32_t* lengths;        // [seq][layer][kv_head]
  int32_t* profiles;       // [seq][layer][kv_head]
  const int32_t* budgets;  // [seq][layer]
  const float* params;     // [seq][SKV_MAX_PARAMS]
  const int32_t* classes;  // [token]
  const uint32_t* q;       // [token][kv_head][group][head_dim] in io_type, as out
  const uint32_t *k, *v;   // [token][kv_head][head_dim]
  uint32_t* out;
  float *lse, *logits;  // [token][kv_head][group]; scratch.cuh
};

// cap * tanh(x / cap)
SKV_INLINE float capped(float x, float cap) {
  const float e = exp2_fast(fabsf(x) * (-2.0f * kLog2e / cap));
  return copysignf(cap * (1.0f - e) / (1.0f + e), x);
}

// Elements i and i + 1 of q, k or v; i is even. Loads come before the type decides, so that several are under way at once.
SKV_INLINE void load_pair(const Step& s, Global<const uint32_t> from, int64_t i, float* out) {
  const bool wide = s.io_type == SKV_F32;
  const int64_t at = wide ? i : i / 2;
  const uint32_t first = from[at], second = from[at + wide];
  if (wide) {
    F32::decode(first, out);
    F32::decode(second, out + 1);
  } else if (s.io_type == SKV_BF16) {
    Bf16::decode(first, out);
  } else {
    F16::decode(first, out);
  }
}
SKV_INLINE void store_pair(const Step& s, Global<uint32_t> to, int64_t i, const float* x) {
  if (s.io_type == SKV_F32) {
    to[i] = F32::encode(x);
    to[i + 1] = F32::encode(x + 1);
  } else {
    to[i / 2] = s.io_type == SKV_BF16 ? Bf16::encode(x) : F16::encode(x);
  }
}

SKV_INLINE skv_row load_row(const Step& s, int r) {
  union {
    skv_row row;
    int32_t word[sizeof(skv_row) / 4];
  } out;
  const Global<const int32_t> words = global((const int32_t*)(s.row + r));
  SKV_UNROLL for (int i = 0; i < int(sizeof(skv_row) / 4); i++) out.word[i] = words[i];
  return out.row;
}

// A generated token: decode's, whose slots are split over blocks. Other rows are prefill's.
SKV_INLINE bool is_decode(const skv_row& row) { return row.tokens == 1 && row.pos0 >= row.prompt; }

// One KV head of one layer of one row: its pages and counts.
template <class KV, int D>
struct Head {
  using L = Layout<KV, D>;
  const Step& s;
  const skv_row& row;
  int layer, head, live;  // live slots, this step's tokens included once append has run
  int64_t index;          // of (seq, layer, head)
  Global<const int32_t> table;

  __device__ __forceinline__ Head(const Step& s, const skv_row& row, int layer, int head)
      : s(s), row(row), layer(layer), head(head) {
    index = ((int64_t)row.seq * s.layers + layer) * s.kv_heads + head;
    live = global((const int32_t*)s.lengths)[index];
    table = global(s.tables) + index * s.table_stride;
  }
  // Page p as words: keys, then values, then lanes.
  __device__ __forceinline__ Global<uint32_t> page(int p) const { return numbered(table[p]); }
  __device__ __forceinline__ Global<uint32_t> numbered(int32_t number) const {
    return global(s.pool) + (int64_t)number * s.page_words;
  }
  static constexpr int keys = L::keys, values = L::values, lanes = L::lanes;  // where they begin in a page
  // Token t of the row in q, out: elements [group][D] of this head; in lse: [group].
  __device__ __forceinline__ int64_t query(int t) const {
    return ((int64_t)(row.token0 + t) * s.kv_heads + head) * s.group;
  }
};

