// across: statistics over the live slots of a head, a page at a time, in the order of shared/across.hpp.
//
//   states [state][slot], keys and values [slot][dim] -> tile [16 slots][floats] -> totals [floats]
//   reads 4 states bytes a slot, and dim b for each vector; with vectors, their arithmetic takes longer than reading
#pragma once
#include <algorithm>
#include <functional>

#include "shared/across.hpp"
#include "slot.hpp"

template <class P>
struct Totals {
  const float* at;
  int dim;
  SKV_FLAT float scalar(int i) const { return at[statistic_at<P>(i, dim)]; }
  SKV_FLAT Vec vector(int i) const {
    Vec out;
    for (int d = 0; d < dim; d++) out.at[d] = at[statistic_at<P>(i, dim) + d];
    return out;
  }
};

// Stores a slot's values in its row of the tile.
template <class P>
struct Put {
  float* row;
  int dim;
  SKV_FLAT void operator()(int i, float value) const { row[statistic_at<P>(i, dim)] = value; }
  SKV_FLAT void operator()(int i, const Vec& value) const {
    for (int d = 0; d < dim; d++) row[statistic_at<P>(i, dim) + d] = value.at[d];
  }
};

// Adds n floats of a page's `slots` rows to their totals; the rows are lost.
SKV_INLINE void reduce_page(Reduce how, float* totals, float* rows, int stride, int n, int slots) {
  if (is_extreme(how)) {
    for (int s = 0; s < slots; s++)
      for (int f = 0; f < n; f++) totals[f] = extreme_of(how, totals[f], rows[s * stride + f]);
    return;
  }
  for (int s = slots; s < SKV_PAGE; s++)
    for (int f = 0; f < n; f++) rows[s * stride + f] = 0.0f;
  for (int width = SKV_PAGE / 2; width > 0; width /= 2)
    for (int s = 0; s < width; s++)
      for (int f = 0; f < n; f++) rows[s * stride + f] += rows[(s + width) * stride + f];
  for (int f = 0; f < n; f++) totals[f] += rows[f];
}

// The n-th largest of numbers as skv_ordered has them, which are reordered.
SKV_INLINE float nth_of(uint32_t* ordered, int live, float n) {
  if (n < 1.0f) return INFINITY;
  const int at = std::min((int)n, live) - 1;
  std::nth_element(ordered, ordered + at, ordered + live, std::greater<uint32_t>());
  return skv_of_ordered(ordered[at]);
}

// page(p, slots, put_of): hands the values of the page's slots s to put_of(s). ordered [P::ranked][live] is scratch.
template <class P, class Page>
SKV_INLINE typename P::Across gather_across(int live, int dim, const float* params, uint32_t* ordered, Page page) {
  constexpr int most = statistic_at<P>(P::statistics, kMaxDim);
  float totals[most], tile[SKV_PAGE * most];
  auto each = [&](auto statistic) SKV_FLAT {
    for (int i = 0; i < P::statistics; i++)
      if (is_of_head<P>(i)) statistic(P::reduce(i), statistic_at<P>(i, dim), P::is_vector(i) ? dim : 1);
  };
  each([&](Reduce how, int at, int n) SKV_FLAT { std::fill_n(totals + at, n, total_of_none(how)); });
  for (int p = 0; p * SKV_PAGE < live; p++) {
    const int slots = std::min(live - p * SKV_PAGE, SKV_PAGE);
    page(p, slots, [&](int s) SKV_FLAT { return Put<P>{tile + s * most, dim}; });
    uint32_t* to = ordered + p * SKV_PAGE;
    each([&](Reduce how, int at, int n) SKV_FLAT {
      if (how != Reduce::nth) return reduce_page(how, totals + at, tile + at, most, n, slots);
      for (int s = 0; s < slots; s++) to[s] = skv_ordered(tile[s * most + at]);
      to += live;
    });
  }
  if constexpr (P::ranked > 0)
    for (int i = 0; i < P::statistics; i++)
      if (P::reduce(i) == Reduce::nth) {
        totals[statistic_at<P>(i, dim)] = nth_of(ordered, live, P::nth(i, params));
        ordered += live;
      }
  each([&](Reduce how, int at, int n) SKV_FLAT {
    for (int f = at; how == Reduce::mean && f < at + n; f++) totals[f] = totals[f] / (float)live;
  });
  return P::across_of(Totals<P>{totals, dim});
}

template <class P>
SKV_INLINE typename P::Across across_of_head(const AnyHead& h, uint32_t* ordered) {
  const int live = *h.length;
  const int32_t query = h.row->pos0 + h.row->tokens - 1;
  const float* params = h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS;
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  return gather_across<P>(live, h.dim, params, ordered, [&](int p, int slots, auto put_of) SKV_FLAT {
    if (P::across_reads_key) read_keys(h, p, keys);
    if (P::across_reads_value) read_values(h, p, values);
    for (int s = 0; s < slots; s++) {
      float states[P::states + 1];
      for (int i = 0; i < P::states; i++) states[i] = h.state(p, P::first_state, i)[s];
      P::across_slot(slot_at<P>(h, p, s, query, live, 0, &keys[s], &values[s]), states, put_of(s));
    }
  });
}
