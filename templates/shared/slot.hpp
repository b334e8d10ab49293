// What an expression may read of a slot, and what it means.
#pragma once
#include "abi.h"
#include "shared/vector.hpp"

// Fields that nobody reads cost nothing: the compiler drops them.
struct Slot {
  float attn;          // attention of the observed query, reduced over its group
  float pos, age;      // logical position, and how many positions before the query
  float seen;          // observed queries that could see the slot
  float live, length;  // slots of the head now; logical length
  float layer, layers, head, heads;
  float voter;                 // query head of the group, where they are not combined
  float random;                // of the request, the slot and the query: above 0, below 1
  float special, punctuation;  // 1: a token of that class
  SlotVec key, value;
  const float* params;  // [SKV_MAX_PARAMS]
  int dim;              // head_dim
};

// All bits of a word depend on all of it; the same numbers as codegen/ir/chance.ts.
SKV_INLINE uint32_t skv_mixed(uint32_t h) {
  h = (h ^ h >> 16) * 0x7feb352du;
  h = (h ^ h >> 15) * 0x846ca68bu;
  return h ^ h >> 16;
}

// slot.random: a hash of the request's seed, where the slot lies and who asks, an odd multiple of 2^-24.
SKV_INLINE float random_of(int32_t seed_lo, int32_t seed_hi, int32_t layer, int32_t head, int32_t query, int32_t pos) {
  uint32_t h = skv_mixed(0x9e3779b9u + (uint32_t)seed_lo);
  h = skv_mixed(h + (uint32_t)seed_hi);
  h = skv_mixed(h + (uint32_t)layer);
  h = skv_mixed(h + (uint32_t)head);
  h = skv_mixed(h + (uint32_t)query);
  h = skv_mixed(h + skv_mixed((uint32_t)pos));
  return (float)(2 * (h >> 9) + 1) * 5.9604644775390625e-8f;
}

// Observed queries q with max(pos, first observed) <= q <= query, in closed form: the observed queries of a prompt are
// its last ones, or all, or none (skv_row.observe_last), and every generated token's when decode is observed.
template <class P>
SKV_INLINE float seen_by(const skv_row& row, int32_t pos, int32_t query) {
  int first = row.prompt;  // observed prompt queries are [first, prompt)
  if (P::observes_prompt) first = row.observe_last ? row.prompt - row.observe_last : 0;
  if (first < 0) first = 0;
  const int from = pos > first ? pos : first;
  const int end = P::observes_decode ? query + 1 : (query + 1 < row.prompt ? query + 1 : row.prompt);
  return end > from ? (float)(end - from) : 0.0f;
}

// classes: SKV_CLASS_… bits.
SKV_INLINE void set_classes(Slot* slot, int32_t classes) {
  slot->special = classes & SKV_CLASS_SPECIAL ? 1.0f : 0.0f;
  slot->punctuation = classes & SKV_CLASS_PUNCTUATION ? 1.0f : 0.0f;
}

// The partition of a position: from 0, and -1 before the first.
SKV_INLINE int partition_of(int pos, float first, float size) {
  const int from = pos - (int)first;
  return from < 0 ? -1 : from / (size < 1.0f ? 1 : (int)size);
}

// What follows from a slot's position and class for a query at position `query` when `live` slots exist. Where it lies,
// its vectors and its attention are the caller's to set.
template <class P>
SKV_INLINE Slot slot_of(const skv_row& row, int32_t pos, int32_t classes, int32_t query, int live) {
  Slot slot = {};
  slot.pos = (float)pos;
  slot.age = (float)(query - pos);
  slot.seen = seen_by<P>(row, pos, query);
  slot.live = (float)live;
  slot.length = (float)(query + 1);
  set_classes(&slot, classes);
  return slot;
}
