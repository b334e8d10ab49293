// What a policy's expressions read of a slot, from a page: one thread a slot, or sixteen lanes where vectors are read.
#pragma once
#include "layout.cuh"
#include "shared/slot.hpp"

// The parameters of a row, in registers: an expression indexes them by constants.
struct Params {
  float at[SKV_MAX_PARAMS];
  __device__ __forceinline__ Params(const float* from) {
    SKV_UNROLL for (int i = 0; i < SKV_MAX_PARAMS; i++) at[i] = global(from)[i];
  }
};

// The fields of slot `slot` of a page for a query at position `query` when `live` slots exist.
template <class P, class KV, int D>
SKV_INLINE Slot slot_at(const Head<KV, D>& h, Global<const uint32_t> page, int slot, int32_t query, int live, float attn,
                        const Vec* key, const Vec* value, const Params& params) {
  const int32_t pos = (int32_t)page[h.lanes + slot];
  const int32_t classes = P::class_lane ? (int32_t)page[h.lanes + P::class_lane * SKV_PAGE + slot] : 0;
  Slot out = slot_of<P>(h.row, pos, classes, query, live);
  out.attn = attn;
  out.layer = (float)h.layer;
  out.layers = (float)h.s.layers;
  out.head = (float)h.head;
  out.heads = (float)h.s.kv_heads;
  out.random = random_of(h.row.seed_lo, h.row.seed_hi, h.layer, h.head, query, pos);
  out.key = key;
  out.value = value;
  out.params = params.at;
  out.dim = D;
  return out;
}

// A lane's elements of a slot's key (from = 0) or value (from = Layout::values): 16 lanes read 32 or 64 bytes at a time.
template <class KV, int D>
SKV_INLINE Vec read_vec(Global<const uint32_t> page, int from, int slot) {
  Vec out;
  SKV_UNROLL for (int i = 0; i < D / kVecLanes; i++) {
    const int d = i * kVecLanes + vec_lane();
    float both[2];
    KV::decode(page[from + slot * Layout<KV, D>::row + d / KV::per_word], both);
    out.at[i] = KV::per_word == 2 && d % 2 ? both[1] : both[0];
  }
  return out;
}

// Prefetches the key or value of a slot that is read later; the sixteen lanes share its lines. Slots from `live` on are nothing.
template <class KV, int D>
SKV_INLINE void prefetch_vec(const Head<KV, D>& h, int from, int slot) {
  if (slot < h.live)
    prefetch(h.page(slot / SKV_PAGE), from + slot % SKV_PAGE * Layout<KV, D>::row + vec_lane() * (D / kVecLanes) / KV::per_word);
}

template <class P, class KV, int D>
SKV_INLINE void read_states(const Head<KV, D>& h, Global<const uint32_t> page, int slot, float* states) {
  SKV_UNROLL for (int i = 0; i < P::states; i++)
    states[i] = skv_float((int32_t)(uint32_t)page[h.lanes + (P::first_state + i) * SKV_PAGE + slot]);
}

// `next` of every state of one slot, once for each vote of a query group: attn(v).
template <class P, class KV, int D, class Attn>
SKV_INLINE void advance(const Head<KV, D>& h, Global<const uint32_t> page, int slot, int32_t query, int live, Attn attn,
                        const Vec* key, const Vec* value, const Params& params, float* states) {
  for (int v = 0; v < votes_of(P::group, h.s.group); v++) {
    float after[P::states + 1];
    Slot seen = slot_at<P>(h, page, slot, query, live, attn(v), key, value, params);
    seen.voter = (float)v;
    P::next(seen, states, after);
    SKV_UNROLL for (int i = 0; i < P::states; i++) states[i] = after[i];
  }
}

template <class P, class KV, int D>
SKV_INLINE void write_states(const Head<KV, D>& h, Global<uint32_t> page, int slot, const float* states) {
  SKV_UNROLL for (int i = 0; i < P::states; i++)
    page[h.lanes + (P::first_state + i) * SKV_PAGE + slot] = (uint32_t)skv_bits(states[i]);
}

// exp(logit - lse) of one query's heads: of one of them where they vote apart, or reduced over the group in head order.
template <class P, class Logit, class Lse>
SKV_INLINE float group_attn(int group, int vote, Logit logit, Lse lse) {
  if (P::group == Group::none) return exp2_fast((logit(vote) - lse(vote)) * kLog2e);
  float total = exp2_fast((logit(0) - lse(0)) * kLog2e);
  for (int g = 1; g < group; g++) {
    const float p = exp2_fast((logit(g) - lse(g)) * kLog2e);
    total = P::group == Group::max ? (p > total ? p : total) : total + p;
  }
  return P::group == Group::mean ? total / (float)group : total;
}
