// What a policy's expressions read of a slot, and `next`: what one observed query does to the states of a page.
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

// exp(logit - lse) of one query's heads for the slots of a page, reduced over the group in head order.
template <class P>
SKV_INLINE f32x16 page_attn(const float* logits, int64_t stride, const float* lse, int group) {
  f32x16 total = exp16(*(const f32x16u*)logits - splat(lse[0]));
  for (int g = 1; g < group; g++) {
    const f32x16 p = exp16(*(const f32x16u*)(logits + g * stride) - splat(lse[g]));
    total = P::group == Group::max ? (p > total ? p : total) : total + p;
  }
  return P::group == Group::mean ? total / splat((float)group) : total;
}

// `next` for the first `visible` slots of page p.
template <class P, class KV>
SKV_INLINE void advance(const Head<KV>& h, int p, int visible, int32_t query, int live, f32x16 attn) {
  float old[P::states][SKV_PAGE], fresh[P::states][SKV_PAGE];
  for (int i = 0; i < P::states; i++) memcpy(old[i], h.state(p, P::first_state, i), sizeof old[i]);
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  if (P::next_reads_key) read_keys(h, p, keys);
  if (P::next_reads_value) read_values(h, p, values);
  for (int s = 0; s < SKV_PAGE; s++) {
    const Slot slot = slot_at<P>(h, p, s, query, live, attn[s], &keys[s], &values[s]);
    float states[P::states], after[P::states];
    for (int i = 0; i < P::states; i++) states[i] = old[i][s];
    P::next(slot, states, after);
    for (int i = 0; i < P::states; i++) fresh[i][s] = after[i];
  }
  for (int i = 0; i < P::states; i++) {
    float* state = h.state(p, P::first_state, i);
    for (int s = 0; s < SKV_PAGE; s++) state[s] = s < visible ? fresh[i][s] : old[i][s];
  }
}

// Calls a page's lanes into the cache, ahead of a walk that reads little else.
template <class P, class KV>
SKV_INLINE void call_lanes(const Head<KV>& h, int p) {
  if (p * SKV_PAGE >= *h.length) return;
  for (int i = 0; i < P::lanes; i++) __builtin_prefetch(h.lane(p, i));
}
