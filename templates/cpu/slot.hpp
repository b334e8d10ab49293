// What a policy's expressions read of a slot, from a page.
#pragma once
#include "layout.hpp"
#include "shared/slot.hpp"

// The fields of one slot for a query at position `query` when `live` slots exist.
template <class P, class KV>
SKV_INLINE Slot slot_at(const Head<KV>& h, int p, int s, int32_t query, int live, float attn, const Vec* key,
                        const Vec* value) {
  const int32_t pos = h.lane(p, 0)[s], classes = P::class_lane ? h.lane(p, P::class_lane)[s] : 0;
  Slot slot = slot_of<P>(*h.row, pos, classes, query, live);
  slot.attn = attn;
  slot.layer = (float)h.layer;
  slot.layers = (float)h.shape->layers;
  slot.head = (float)h.head;
  slot.heads = (float)h.shape->kv_heads;
  slot.key = key;
  slot.value = value;
  slot.params = h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS;
  slot.dim = h.dim;
  return slot;
}

// Runs a pass over a head; for common head sizes with one that the compiler knows, so that loops over it unroll.
template <class KV, class Pass>
SKV_INLINE void with_known_dim(Head<KV> h, Pass pass) {
  if (h.dim == 64) {
    h.dim = 64;
    pass(h);
  } else if (h.dim == 128) {
    h.dim = 128;
    pass(h);
  } else {
    pass(h);
  }
}

// Keys of all slots of a page, out [16 slots].
template <class KV>
SKV_INLINE void read_keys(const Head<KV>& h, int p, Vec* out) {
  for (int d = 0; d < h.dim; d += 16) {
    f32x16 m[16];
    for (int j = 0; j < 8; j++) {
      const auto pairs = KV::key_pairs(h.keys(p), d / 2 + j);
      m[2 * j] = KV::even_of(pairs);
      m[2 * j + 1] = KV::odd_of(pairs);
    }
    transpose(m);
    for (int s = 0; s < SKV_PAGE; s++) *(f32x16u*)(out[s].at + d) = m[s];
  }
}

// Values of all slots of a page, out [16 slots].
template <class KV>
SKV_INLINE void read_values(const Head<KV>& h, int p, Vec* out) {
  for (int i = 0; i < SKV_PAGE / 2; i++)
    for (int d = 0; d < h.dim; d += 16) {
      const auto pairs = KV::value_pairs(h.values(p), i, d, h.dim);
      *(f32x16u*)(out[2 * i].at + d) = KV::even_of(pairs);
      *(f32x16u*)(out[2 * i + 1].at + d) = KV::odd_of(pairs);
    }
}

constexpr int kLanesAhead = 8;  // pages between the lanes that are read and those that are prefetched

// Prefetches a page's lanes, for a walk that reads little else.
template <class P, class KV>
SKV_INLINE void prefetch_lanes(const Head<KV>& h, int p) {
  if (p * SKV_PAGE >= *h.length) return;
  for (int i = 0; i < P::lanes; i++) __builtin_prefetch(h.lane(p, i));
}
