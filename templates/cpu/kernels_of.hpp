// The kernels for pages of one type of keys and values.
#pragma once
#include "attend.hpp"
#include "lanes.hpp"
#include "pages.hpp"

template <class KV>
SKV_INLINE skv_page_layout layout_of(const skv_shape* s) {
  return skv_layout_of(s->head_dim, sizeof(typename KV::Word), s->lanes);
}

// Elements 2j and 2j + 1 of the keys of the slots of a page's register n.
template <class KV>
SKV_INLINE Two two_of_keys(const skv_shape* s, const void* page, int j, int n) {
  return KV::key_two((const typename KV::Word*)((const uint8_t*)page + layout_of<KV>(s).keys), j, n * kRegister);
}

// Prefetches what two_of_keys reads of all slots.
template <class KV>
SKV_INLINE void prefetch_two_of_keys(const skv_shape* s, const void* page, int j) {
  const auto* row = (const typename KV::Word*)((const uint8_t*)page + layout_of<KV>(s).keys) + 32 * j;
  for (int i = 0; i < 32; i += 64 / sizeof *row) __builtin_prefetch(row + i);
}

template <class KV>
constexpr Kernels table_of() {
  Kernels kernels = {};
  kernels.append = append<KV>;
  kernels.attend = attend<KV>;
  kernels.read_keys = [](const skv_shape* s, const uint8_t* page, const uint8_t* ahead, f32x16* out) {
    const auto* keys = (const typename KV::Word*)(page + layout_of<KV>(s).keys);
    for (int j = 0; j < s->head_dim / 2; j++) prefetch_two_of_keys<KV>(s, ahead, j);
    known_dim(s->head_dim, [&](int dim) SKV_FLAT { read_keys<KV>(keys, dim, out); });
  };
  kernels.read_values = [](const skv_shape* s, const uint8_t* page, int slot0, int slot1, f32x16* out) {
    const auto* values = (const typename KV::Word*)(page + layout_of<KV>(s).values);
    known_dim(s->head_dim, [&](int dim) SKV_FLAT { read_values<KV>(values, slot0, slot1, dim, out); });
  };
  kernels.key_answer = [](const skv_shape* s, const uint8_t* page, const uint8_t* ahead, Asked what, const float* other,
                          f32x16* out) {
    const auto two = [&](int j, int n) SKV_FLAT {
      if (n == 0) prefetch_two_of_keys<KV>(s, ahead, j);
      return two_of_keys<KV>(s, page, j, n);
    };
    known_dim(s->head_dim, [&](int dim) SKV_FLAT { answer_of(dim, two, what, other, out); });
  };
  kernels.add_keys = [](const skv_shape* s, const PageTerm* page, int pages, int slots, f32x16* sums) {
    const auto two = [&](const PageTerm& term, int j, int n) SKV_FLAT {
      if (n == 0) prefetch_two_of_keys<KV>(s, term.ahead, j);
      return two_of_keys<KV>(s, term.vectors, j, n);
    };
    add_times(s->head_dim, two, page, pages, slots, sums);
  };
  kernels.move_slot = [](const AnyHead& h, int lanes, int from, int to) { move_slot(Head<KV>(h), lanes, from, to); };
  kernels.move_down = move_down<KV>;
  kernels.fill_holes = fill_holes<KV>;
  return kernels;
}
