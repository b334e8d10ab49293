// What a policy's expressions read of a slot, from a page.
#pragma once
#include "kernels.hpp"
#include "shared/slot.hpp"

// The fields of one slot for a query at position `query` when `live` slots exist.
template <class P>
SKV_INLINE Slot slot_at(const AnyHead& h, int p, int s, int32_t query, int live, float attn, const Vec* key,
                        const Vec* value) {
  const int32_t pos = h.lane(p, 0)[s], classes = P::class_lane ? h.lane(p, P::class_lane)[s] : 0;
  Slot slot = slot_of<P>(*h.row, pos, classes, query, live);
  slot.attn = attn;
  slot.layer = (float)h.layer;
  slot.layers = (float)h.shape->layers;
  slot.head = (float)h.head;
  slot.heads = (float)h.shape->kv_heads;
  slot.random = random_of(h.row->seed_lo, h.row->seed_hi, h.layer, h.head, query, pos);
  slot.key = key;
  slot.value = value;
  slot.params = h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS;
  slot.dim = h.dim;
  return slot;
}

// Keys and values of all slots of a page, out [16 slots].
SKV_INLINE void read_keys(const AnyHead& h, int p, Vec* out) { kernels_of(h.shape).read_keys(h.shape, h.page(p), out); }
SKV_INLINE void read_values(const AnyHead& h, int p, Vec* out) {
  kernels_of(h.shape).read_values(h.shape, h.page(p), out);
}
