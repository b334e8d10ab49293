// One KV head of one layer of one row, whatever type its pages hold: what a policy's passes read of it.
#pragma once
#include "abi.h"
#include "layout.h"
#include "simd.hpp"

constexpr int kSegmentPages = SKV_SEGMENT / SKV_PAGE, kPagePairs = SKV_PAGE / 2;

SKV_INLINE int pages_of(int slots) { return (slots + SKV_PAGE - 1) / SKV_PAGE; }
SKV_INLINE int segments_of(int slots) { return (slots + SKV_SEGMENT - 1) / SKV_SEGMENT; }

// Its pages and counts.
struct AnyHead {
  const skv_step* step;
  const skv_shape* shape;
  const skv_row* row;
  int layer, head;
  const int32_t* table;  // [page] of this head
  int32_t* length;       // live slots, this step's tokens included once append has run
  int32_t* profile;      // the rule that it has taken, of a policy with a profile
  int dim;
  int window;    // of the layer, skv_layer_shape.window: 0 where a query sees all slots
  int lanes_at;  // bytes before the lanes of a page

  AnyHead(const skv_step* s, const skv_row* r, int l, int h) : AnyHead(s, r, l, h, skv_kv_bytes(s->shape->kv_type)) {}
  AnyHead(const skv_step* s, const skv_row* r, int l, int h, int kv_bytes)
      : step(s),
        shape(s->shape),
        row(r),
        layer(l),
        head(h),
        dim(s->shape->head_dim),
        window(s->shape->layer[l].window),
        lanes_at(skv_layout_of(s->shape->head_dim, kv_bytes, 0).lanes) {
    const int64_t index = ((int64_t)r->seq * shape->layers + l) * shape->kv_heads + h;
    table = s->tables + index * shape->table_stride;
    length = s->lengths + index;
    profile = s->profiles + index;
  }
  const float* inv_freq() const { return shape->layer[layer].inv_freq; }
  // Segments, once append has run. A window layer loses pages at its front, and its segments stay where they were:
  // `lost_pages` of the first are gone.
  int lost_pages() const { return window ? (row->pos0 + row->tokens - *length) / SKV_PAGE % kSegmentPages : 0; }
  int segments() const { return segments_of(lost_pages() * SKV_PAGE + *length); }
  int segment_of(int slot) const { return (lost_pages() * SKV_PAGE + slot) / SKV_SEGMENT; }
  int first_page(int segment) const { return segment ? segment * kSegmentPages - lost_pages() : 0; }
  // The first slot that a query sees which sees none from slot `visible` on.
  int first_slot(int visible) const { return window && visible > window ? visible - window : 0; }
  // Page p of the table, and a lane [16 slots] of it.
  uint8_t* page(int p) const { return step->pool + (int64_t)table[p] * shape->page_bytes; }
  int32_t* lane(int p, int lane) const { return (int32_t*)(page(p) + lanes_at) + lane * SKV_PAGE; }
  float* state(int p, int first, int s) const { return (float*)lane(p, first + s); }
  // Token t of the row: its place in the step's arrays, and there its group's queries and outputs [group][dim], their
  // LSE [group], its key and value [dim].
  int64_t token(int t) const { return row->token0 + t; }
  const float* query(int t) const { return step->q + (token(t) * shape->kv_heads + head) * shape->group * dim; }
  float* out(int t) const { return step->out + (token(t) * shape->kv_heads + head) * shape->group * dim; }
  float* lse(int t) const { return step->lse + (token(t) * shape->kv_heads + head) * shape->group; }
  const float* key(int t) const { return step->k + (token(t) * shape->kv_heads + head) * dim; }
  const float* value(int t) const { return step->v + (token(t) * shape->kv_heads + head) * dim; }
};

// Runs a pass with a head size; a common one is known to the compiler, so that loops over it unroll.
template <class Pass>
SKV_INLINE void known_dim(int dim, Pass pass) {
  if (dim == 64) return pass(64);
  if (dim == 128) return pass(128);
  pass(dim);
}

// The same over a head.
template <class Pass>
SKV_INLINE void with_known_dim(AnyHead h, Pass pass) {
  known_dim(h.dim, [&](int dim) SKV_FLAT {
    h.dim = dim;
    pass(h);
  });
}
