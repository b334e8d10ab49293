// What is done to the slots of pages for a policy's passes: vectors read, slots moved.
#pragma once
#include "kernels.hpp"
#include "layout.hpp"

// Keys of all slots of a page, out [16 slots].
template <class KV>
SKV_INLINE void read_keys(const typename KV::Word* keys, int dim, Vec* out) {
  for (int d = 0; d < dim; d += 16) {
    f32x16 m[16];
    for (int j = 0; j < 8; j++) {
      const auto pairs = KV::key_pairs(keys, d / 2 + j);
      m[2 * j] = KV::even_of(pairs);
      m[2 * j + 1] = KV::odd_of(pairs);
    }
    transpose(m);
    for (int s = 0; s < SKV_PAGE; s++) *(f32x16u*)(out[s].at + d) = m[s];
  }
}

// Values of all slots of a page, out [16 slots].
template <class KV>
SKV_INLINE void read_values(const typename KV::Word* values, int dim, Vec* out) {
  for (int i = 0; i < SKV_PAGE / 2; i++)
    for (int d = 0; d < dim; d += 16) {
      const auto pairs = KV::value_pairs(values, i, d, dim);
      *(f32x16u*)(out[2 * i].at + d) = KV::even_of(pairs);
      *(f32x16u*)(out[2 * i + 1].at + d) = KV::odd_of(pairs);
    }
}

// Copies a slot over another: key, value and lanes.
template <class KV>
SKV_INLINE void move_slot(const Head<KV>& h, int lanes, int from, int to) {
  const int pf = from / SKV_PAGE, sf = from % SKV_PAGE, pt = to / SKV_PAGE, st = to % SKV_PAGE;
  auto *key = h.keys(pt), *value = h.values(pt), *old_key = h.keys(pf), *old_value = h.values(pf);
  for (int d = 0; d < h.dim; d++) *KV::key_at(key, d, st) = *KV::key_at(old_key, d, sf);
  for (int d = 0; d < h.dim; d++) *KV::value_at(value, d, st, h.dim) = *KV::value_at(old_value, d, sf, h.dim);
  for (int i = 0; i < lanes; i++) h.lane(pt, i)[st] = h.lane(pf, i)[sf];
}

// Moves those of slots [hole, live) that stay down, in order, into the hole.
template <class KV>
void move_down(const AnyHead& any, int lanes, int hole, int live, const uint8_t* stays) {
  const Head<KV> h(any);
  int to = hole;
  for (int s = hole + 1; s < live; s++)
    if (stays[s]) move_slot(h, lanes, s, to++);
}
