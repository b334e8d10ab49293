// Where attention stands in a head's pages.
#pragma once
#include <type_traits>

#include "layout.hpp"

// Where a tile stands in its head's pages, and what it reads next, in halves of pages: the keys of a segment's pages,
// their values, the next segment's keys …
template <class KV>
struct PageCursor {
  static constexpr int kDistance = 16;  // halves between what is read and what is prefetched
  const Head<KV>& h;
  int page0, last;                   // first page of the segment; last page to read
  const PageCursor* next = nullptr;  // where the same worker goes from there
  // The j-th half from the segment's first keys on.
  const uint8_t* half(int j) const {
    if (next && j >= 2 * kSegmentPages && page0 + kSegmentPages > last) return next->half(j - 2 * kSegmentPages);
    const int page = page0 + j % kSegmentPages + j / (2 * kSegmentPages) * kSegmentPages;
    const int p = page < last ? page : last;
    return h.page(p) + (j / kSegmentPages % 2 ? h.layout().values : h.layout().keys);
  }
  const uint8_t* ahead(int j) const { return half(j + kDistance); }
  // The same, when the tile sees nothing before a page.
  PageCursor from_page(int page) const { return {h, page > page0 ? page : page0, last, next}; }
};

SKV_INLINE void prefetch(const uint8_t* at) { __builtin_prefetch(at, 0, 2); }

template <int n>
using Count = std::integral_constant<int, n>;
