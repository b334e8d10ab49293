// The kernels for pages of one type of keys and values.
#pragma once
#include "attend.hpp"
#include "pages.hpp"

template <class KV>
SKV_INLINE skv_page_layout layout_of(const skv_shape* s) {
  return skv_layout_of(s->head_dim, sizeof(typename KV::Word), s->lanes);
}

template <class KV>
constexpr Kernels table_of() {
  Kernels kernels = {};
  kernels.append = append<KV>;
  kernels.attend = attend<KV>;
  kernels.read_keys = [](const skv_shape* s, const uint8_t* page, f32x16* out) {
    const auto* keys = (const typename KV::Word*)(page + layout_of<KV>(s).keys);
    known_dim(s->head_dim, [&](int dim) SKV_FLAT { read_keys<KV>(keys, dim, out); });
  };
  kernels.read_values = [](const skv_shape* s, const uint8_t* page, f32x16* out) {
    const auto* values = (const typename KV::Word*)(page + layout_of<KV>(s).values);
    known_dim(s->head_dim, [&](int dim) SKV_FLAT { read_values<KV>(values, dim, out); });
  };
  kernels.move_slot = [](const AnyHead& h, int lanes, int from, int to) { move_slot(Head<KV>(h), lanes, from, to); };
  kernels.move_down = move_down<KV>;
  kernels.drop_slot = drop_slot<KV>;
  return kernels;
}
