// What attend leaves the policy's pass after it, and decode's blocks each other: skv_step.logits, step_floats() long.
// The first two lie at the same places for all policies of an engine.
//
//   counters  [row][kv_head][part]                   blocks of decode that have ended; zero before and after
//   partials  [row][kv_head][split][tile]            of eight query heads: max [8], sum [8], out (decode.cuh has the
//   order) logits    [row][kv_head][group][slots of whole pages]    of rows that a policy observes
#pragma once
#include "layout.cuh"

constexpr int kTileHeads = 8;  // query heads of one product
constexpr int kMostParts = 8;  // of a KV head's query heads: what one block computes

// A row's slots are cut into splits of whole Tiles::split slots, as many as needed and at most Tiles::splits.
SKV_BOTH int split_slots(int live) { return ceil_div(ceil_div(live, Tiles::split), Tiles::splits) * Tiles::split; }
SKV_BOTH int splits_of(int live) { return live > 0 ? ceil_div(live, split_slots(live)) : 0; }

struct StepScratch {
  int64_t kv_heads, group, slots, partials_size, tiles, partials0, logits0;

  // Room for a tile's partials, whatever the type.
  SKV_BOTH int64_t partials_floats(int dim) { return 2 * kTileHeads + (int64_t)ceil_div(dim, 64) * 64 * kTileHeads; }
  SKV_BOTH int64_t tiles_of(int group) {
    return group <= kTileHeads ? 1 : (int64_t)ceil_div(group, 2 * kTileHeads) * 2;
  }
  SKV_BOTH int64_t counters(int rows, int kv_heads) { return ceil_div(rows * kv_heads * kMostParts, 4) * 4; }
  SKV_BOTH int64_t floats(const skv_shape* s, bool observes) {
    const int64_t heads = (int64_t)s->max_rows * s->kv_heads;
    const int64_t partials = heads * Tiles::splits * tiles_of(s->group) * partials_floats(s->head_dim);
    const int64_t logits = observes ? heads * s->group * ceil_div(s->max_slots, SKV_PAGE) * SKV_PAGE : 0;
    return counters(s->max_rows, s->kv_heads) + partials + logits;
  }

  __device__ __forceinline__ StepScratch(const Step& s, int dim, int max_rows)
      : kv_heads(s.kv_heads),
        group(s.group),
        slots(ceil_div(s.max_slots, SKV_PAGE) * SKV_PAGE),
        partials_size(partials_floats(dim)),
        tiles(tiles_of(s.group)),
        partials0(counters(max_rows, s.kv_heads)),
        logits0(partials0 + (int64_t)max_rows * s.kv_heads * Tiles::splits * tiles * partials_size) {}

  // Where these begin, in words.
  SKV_BOTH int64_t counter(int kv_heads, int r, int head, int part) {
    return ((int64_t)r * kv_heads + head) * kMostParts + part;
  }
  __device__ __forceinline__ int64_t partials(int r, int head, int split, int tile) const {
    return partials0 + (((r * kv_heads + head) * Tiles::splits + split) * tiles + tile) * partials_size;
  }
  __device__ __forceinline__ int64_t logit(int r, int head, int g) const {
    return logits0 + ((r * kv_heads + head) * group + g) * slots;
  }
};
