// What every launch begins with: the variant of a step's shape, and the step by value.
#pragma once
#include "layout.cuh"

// A type of keys and values and a head size that kernels are compiled for.
template <class KV_, int D_>
struct Variant {
  using KV = KV_;
  static constexpr int D = D_;
};

template <class... V>
struct Variants {};

// Calls a pass with the variant of the head size and the type that the pages hold.
template <class Pass, class... V>
int32_t by_shape(Variants<V...>, const skv_shape* shape, Pass pass) {
  int32_t code = SKV_E_SHAPE;
  const auto is = [&](auto variant) {
    using Here = decltype(variant);
    return shape->head_dim == Here::D && shape->kv_type == Here::KV::type;
  };
  (void)((is(V()) && ((code = pass(V())), true)) || ...);
  return code;
}

static inline Step step_of(const skv_step* s, int32_t layer) {
  const skv_shape& h = *s->shape;
  Step out;
  out.layers = h.layers;
  out.kv_heads = h.kv_heads;
  out.group = h.group;
  out.page_words = h.page_bytes / 4;
  out.table_stride = h.table_stride;
  out.io_type = h.io_type;
  out.max_slots = h.max_slots;
  out.rope_interleaved = h.rope_interleaved;
  out.self = s->self;
  out.layer = layer;
  out.rows = s->rows;
  out.scale = h.scale;
  out.soft_cap = h.soft_cap;
  out.window = h.layer[layer].window;
  out.inv_freq = h.layer[layer].inv_freq;
  out.row = s->row;
  out.pool = (uint32_t*)s->pool;
  out.tables = s->tables;
  out.lengths = s->lengths;
  out.profiles = s->profiles;
  out.budgets = s->budgets;
  out.params = s->params;
  out.classes = s->classes;
  out.q = (const uint32_t*)s->q;
  out.k = (const uint32_t*)s->k;
  out.v = (const uint32_t*)s->v;
  out.out = (uint32_t*)s->out;
  out.lse = s->lse;
  out.logits = s->logits;
  return out;
}

// Tells the emulation which arrays this step's kernels may touch, at the sizes that abi.h gives them.
static inline void expose_step(const skv_step* s, int64_t floats) {
  const skv_shape& h = *s->shape;
  const int64_t heads = (int64_t)h.max_seqs * h.layers * h.kv_heads, io = h.io_type == SKV_F32 ? 4 : 2;
  const int64_t kv = (int64_t)h.max_tokens * h.kv_heads * h.head_dim * io;
  for (int l = 0; l < h.layers; l++)
    if (h.layer[l].inv_freq) expose(h.layer[l].inv_freq, h.head_dim / 2 * 4, "inv_freq");
  expose(s->row, (int64_t)s->rows * sizeof(skv_row), "row");
  expose(s->pool, (int64_t)h.pages * h.page_bytes, "pool");
  expose(s->tables, heads * h.table_stride * 4, "tables");
  expose(s->lengths, heads * 4, "lengths");
  expose(s->profiles, heads * 4, "profiles");
  expose(s->budgets, (int64_t)h.max_seqs * h.layers * 4, "budgets");
  expose(s->params, (int64_t)h.max_seqs * SKV_MAX_PARAMS * 4, "params");
  expose(s->classes, (int64_t)h.max_tokens * 4, "classes");
  expose(s->logits, floats * 4, "logits");
  expose(s->q, kv * h.group, "q");
  expose(s->k, kv, "k");
  expose(s->v, kv, "v");
  expose(s->out, kv * h.group, "out");
  expose(s->lse, (int64_t)h.max_tokens * h.kv_heads * h.group * 4, "lse");
}
