// What a policy's expressions read of a slot.
#pragma once
#include "pages.hpp"

// What an expression may read of a slot. Fields nobody reads cost nothing: the compiler drops them.
struct Slot {
  float attn, pos, age, seen, live, length, layer, layers, head, heads, special, punctuation;
  const Vec *key, *value;
  const float* params;
  int dim;
};

// Observed queries with max(pos, first observed) <= q <= query: closed form, see abi.h.
template <class P>
SKV_INLINE float seen_by(const skv_row* row, int32_t pos, int32_t query) {
  int first_prompt = row->prompt;  // observed prompt queries are [first_prompt, prompt)
  if (P::observes_prompt) first_prompt = row->observe_last ? row->prompt - row->observe_last : 0;
  if (first_prompt < 0) first_prompt = 0;
  const int from = pos > first_prompt ? pos : first_prompt;
  const int end = P::observes_decode ? query + 1 : (query + 1 < row->prompt ? query + 1 : row->prompt);
  return end > from ? (float)(end - from) : 0.0f;
}

// The fields of one slot for a query at position `query` when `live` slots exist.
template <class P, class KV>
SKV_INLINE Slot slot_at(const Head<KV>& h, int p, int s, int32_t query, int live, float attn, const Vec* key,
                        const Vec* value) {
  const int32_t pos = h.lane(p, 0)[s], cls = P::class_lane ? h.lane(p, P::class_lane)[s] : 0;
  return {attn,
          (float)pos,
          (float)(query - pos),
          seen_by<P>(h.row, pos, query),
          (float)live,
          (float)(query + 1),
          (float)h.layer,
          (float)h.shape->layers,
          (float)h.head,
          (float)h.shape->kv_heads,
          cls & SKV_CLASS_SPECIAL ? 1.0f : 0.0f,
          cls & SKV_CLASS_PUNCTUATION ? 1.0f : 0.0f,
          key,
          value,
          h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS,
          h.dim};
}

// Runs a pass over a head whose vectors have, if they are of a common size, one that the compiler knows: loops unroll.
template <class KV, class Pass>
SKV_INLINE void sized(Head<KV> h, Pass pass) {
  if (h.dim == 64)
    h.dim = 64, pass(h);
  else if (h.dim == 128)
    h.dim = 128, pass(h);
  else
    pass(h);
}

// Keys of all slots of a page, out [slot].
template <class KV>
SKV_INLINE void read_keys(const Head<KV>& h, int p, Vec* out) {
  for (int d = 0; d < h.dim; d += 16) {
    f32x16 m[16];
    for (int j = 0; j < 8; j++) {
      const auto line = KV::key_line(h.keys(p), d / 2 + j);
      m[2 * j] = KV::even_of(line), m[2 * j + 1] = KV::odd_of(line);
    }
    transpose(m);
    for (int s = 0; s < SKV_PAGE; s++) *(f32x16u*)(out[s].at + d) = m[s];
  }
}

// Values of all slots of a page, out [slot].
template <class KV>
SKV_INLINE void read_values(const Head<KV>& h, int p, Vec* out) {
  for (int i = 0; i < SKV_PAGE / 2; i++)
    for (int d = 0; d < h.dim; d += 16) {
      const auto line = KV::value_line(h.values(p), i, d, h.dim);
      *(f32x16u*)(out[2 * i].at + d) = KV::even_of(line), *(f32x16u*)(out[2 * i + 1].at + d) = KV::odd_of(line);
    }
}

// Calls a page's lanes into the cache, ahead of a walk that reads little else.
template <class P, class KV>
SKV_INLINE void call_lanes(const Head<KV>& h, int p) {
  if (p * SKV_PAGE >= *h.length) return;
  for (int i = 0; i < P::lanes; i++) __builtin_prefetch(h.lane(p, i));
}
