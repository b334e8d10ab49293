// What a policy's expressions read of a slot, from a page.
#pragma once
#include "vectors.hpp"

// The fields of one slot for a query at position `query` when `live` slots exist.
template <class P>
SKV_INLINE Slot slot_at(const AnyHead& h, int p, int s, int32_t query, int live, float attn, const PageVecs& keys,
                        const PageVecs& values, bool answered = false) {
  const int32_t pos = h.lane(p, 0)[s], classes = P::class_lane ? h.lane(p, P::class_lane)[s] : 0;
  Slot slot = slot_of<P>(*h.row, pos, classes, query, live);
  slot.attn = attn;
  slot.layer = (float)h.layer;
  slot.layers = (float)h.shape->layers;
  slot.head = (float)h.head;
  slot.heads = (float)h.shape->kv_heads;
  slot.random = random_of(h.row->seed_lo, h.row->seed_hi, h.layer, h.head, query, pos);
  slot.key = {&keys, s, answered};
  slot.value = {&values, s, answered};
  slot.params = h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS;
  slot.dim = h.dim;
  return slot;
}

// Prefetches a page's values, which are the second half of what lies before its lanes.
SKV_INLINE void prefetch_values(const AnyHead& h, int p) {
  if (p * SKV_PAGE >= *h.length) return;
  const uint8_t* at = h.page(p) + h.lanes_at / 2;
#pragma GCC unroll 8
  for (int b = 0; b < h.lanes_at / 2; b += 64) __builtin_prefetch(at + b);
}

// Keys of all slots of a page, values of slots [s0, s1) of it.
SKV_INLINE void read_keys(const AnyHead& h, int p, PageVecs* out) {
  const int last = (*h.length - 1) / SKV_PAGE;
  out->keys_of(h.shape, h.page(p), h.page(std::min(p + out->pages_ahead, last)));
}
SKV_INLINE void read_values(const AnyHead& h, int p, int s0, int s1, PageVecs* out) {
  prefetch_values(h, p + out->pages_ahead);
  out->read(h.dim, [&](f32x16* at) SKV_FLAT { kernels_of(h.shape).read_values(h.shape, h.page(p), s0, s1, at); });
}

// Hands slots [s0, s1) of a page to visit(s, slot, states), with keys and values if they are read; both are scratch.
// twice: slot s0 comes twice if they are. First it asks what all ask of the page's vectors, so that for the loop these
// are numbers: worth it where what is asked is all that takes time.
template <class P, bool twice = true, class Visit>
SKV_INLINE void visit_slots(const AnyHead& h, int p, int s0, int s1, bool reads_keys, bool reads_values, PageVecs* keys,
                            PageVecs* values, Visit visit) {
  const int32_t query = h.row->pos0 + h.row->tokens - 1;
  const int live = *h.length;
  if (reads_keys) read_keys(h, p, keys);
  if (reads_values) read_values(h, p, s0, s1, values);
  auto slot = [&](int s, bool answered) SKV_FLAT {
    float states[P::states + 1];
    for (int i = 0; i < P::states; i++) states[i] = h.state(p, P::first_state, i)[s];
    visit(s, slot_at<P>(h, p, s, query, live, 0, *keys, *values, answered), states);
  };
  if (twice && (reads_keys || reads_values)) slot(s0, false);
  for (int s = s0; s < s1; s++) slot(s, twice);
}
