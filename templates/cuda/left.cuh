// What attend and the policy's pass after it leave each other, from the front of step_floats() on, the first two at the
// same places for all policies of an engine:
//   counters [row][kv_head][part]: blocks of decode that have ended, zero before and after
//   shares   [row][kv_head][split][tile]: of eight query heads the top logits, the sums, and the sums of values
//   logits   [row][kv_head][group][slots, whole pages]
#pragma once
#include "pages.cuh"

constexpr int kTile = 8;       // query heads of a product
constexpr int kMostParts = 8;  // of a KV head's query heads

SKV_BOTH int split_slots(int live) { return divided(divided(live, Tiles::split), Tiles::splits) * Tiles::split; }
SKV_BOTH int splits_of(int live) { return live > 0 ? divided(live, split_slots(live)) : 0; }

struct Left {
  int64_t kv_heads, group, slots, share_size, tiles, shares0, logits0;
  // Room for a tile's share, whatever the type.
  SKV_BOTH int64_t share_floats(int dim) { return 2 * kTile + (int64_t)divided(dim, 64) * 64 * kTile; }
  SKV_BOTH int64_t tiles_of(int group) { return group <= kTile ? 1 : (int64_t)divided(group, 2 * kTile) * 2; }
  SKV_BOTH int64_t counters(int rows, int kv_heads) { return divided(rows * kv_heads * kMostParts, 4) * 4; }
  SKV_BOTH int64_t floats(const skv_shape* s, bool observes) {
    const int64_t heads = (int64_t)s->max_rows * s->kv_heads;
    return counters(s->max_rows, s->kv_heads) +
           heads * Tiles::splits * tiles_of(s->group) * share_floats(s->head_dim) +
           (observes ? heads * s->group * divided(s->max_slots, SKV_PAGE) * SKV_PAGE : 0);
  }
  __device__ __forceinline__ Left(const Step& s, int dim, int max_rows)
      : kv_heads(s.kv_heads), group(s.group), slots(divided(s.max_slots, SKV_PAGE) * SKV_PAGE),
        share_size(share_floats(dim)), tiles(tiles_of(s.group)), shares0(counters(max_rows, s.kv_heads)),
        logits0(shares0 + (int64_t)max_rows * s.kv_heads * Tiles::splits * tiles * share_size) {}
  SKV_BOTH int64_t counter(int kv_heads, int r, int head, int part) {
    return ((int64_t)r * kv_heads + head) * kMostParts + part;
  }
  __device__ __forceinline__ int64_t share(int r, int head, int split, int tile) const {
    return shares0 + (((r * kv_heads + head) * Tiles::splits + split) * tiles + tile) * share_size;
  }
  __device__ __forceinline__ int64_t logit(int r, int head, int g) const {
    return logits0 + ((r * kv_heads + head) * group + g) * slots;
  }
};
