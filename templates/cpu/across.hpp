// across: statistics over the live slots of a head, a page at a time, in the order of shared/across.hpp.
//
//   states [state][slot], keys and values [slot][dim] -> tile [16 slots][floats] -> sixteen of each float -> totals
//   [floats]
//   reads 4 states bytes a slot, and dim b for each vector; with vectors, their arithmetic takes longer than reading
#pragma once
#include <algorithm>

#include "shared/across.hpp"
#include "slot.hpp"

template <class P>
struct Totals {
  const float* at;
  int dim;
  SKV_FLAT float scalar(int i) const { return at[statistic_at<P>(i, dim)]; }
  struct Vector {
    const float* at;
    int dim;
    SKV_FLAT operator Vec() const {
      Vec out;
      for (int d = 0; d < dim; d++) out.at[d] = at[d];
      return out;
    }
    template <int N>
    SKV_FLAT operator AcrossVec<N>() const {
      AcrossVec<N> out;
      for (int d = 0; d < dim; d++) out.at[d] = at[d];
      out.norm = skv_norm((const Vec&)out, dim);
      return out;
    }
  };
  SKV_FLAT Vector vector(int i) const { return {at + statistic_at<P>(i, dim), dim}; }
};

// The slots' own vectors, each times a number, as what a statistic sums: they lie in lanes and are added there, some
// pages at a time.
struct OwnVecs {
  const PageVecs* of = nullptr;  // null: the statistic is another
  PageTerm term[kPageTerms];
  int pages = 0;
  SKV_FLAT void put(const ScaledVec& value) {
    of = value.of.page;
    ((float*)&term[pages].factor)[value.of.slot] = value.factor;
  }
  // A page of `slots` slots has been put.
  SKV_FLAT void end_page(int slots, f32x16* sums) {
    term[pages].ahead = of->ahead;
    term[pages++].vectors = of->term();
    if (pages == of->terms() || slots < SKV_PAGE) add(slots, sums);
  }
  SKV_FLAT void add(int slots, f32x16* sums) {
    if (pages) of->add(term, pages, slots, sums);
    pages = 0;
  }
};

// Stores a slot's values in its row of the tile, or what they are of its own vectors.
template <class P>
struct Put {
  float* row;
  int dim;
  OwnVecs* own;
  SKV_FLAT void operator()(int i, float value) const { row[statistic_at<P>(i, dim)] = value; }
  SKV_FLAT void operator()(int i, const Vec& value) const {
    for (int d = 0; d < dim; d++) row[statistic_at<P>(i, dim) + d] = value.at[d];
  }
  SKV_FLAT void operator()(int i, const ScaledVec& value) const {
    if (is_extreme(P::reduce(i))) return (*this)(i, (Vec)value);
    own[i].put(value);
  }
  SKV_FLAT void operator()(int i, const SlotVec& value) const { (*this)(i, ScaledVec{value, 1.0f}); }
};

// n floats of each of `slots` rows join those of their lanes [16][n].
SKV_INLINE void join_rows(Reduce how, float* lanes, const float* rows, int stride, int n, int slots) {
  for (int s = 0; s < slots; s++)
    for (int f = 0; f < n; f++) lanes[s * n + f] = joined(how, lanes[s * n + f], rows[s * stride + f]);
}

// The sixteen lanes [16][n] become one, totals [n].
SKV_INLINE void join_lanes(Reduce how, float* lanes, int n, float* totals) {
  for (int width = SKV_PAGE / 2; width > 0; width /= 2) join_rows(how, lanes, lanes + width * n, n, n, width);
  std::copy_n(lanes, n, totals);
}

// page(p, slots, put_of): hands the values of the page's slots s to put_of(s). ordered [P::ranked][live] is scratch.
template <class P, class Page>
SKV_INLINE typename P::Across gather_across(int live, int dim, const float* params, uint32_t* ordered, Page page) {
  constexpr int most = statistic_at<P>(P::statistics, kMaxDim);
  float totals[most], tile[SKV_PAGE * most];
  alignas(64) float lanes[SKV_PAGE * most];  // of each statistic [16][n], or [n][16] where it is of own vectors
  OwnVecs own[P::statistics];
  auto sums_at = [&](int at) SKV_FLAT { return (f32x16*)(lanes + at * SKV_PAGE); };
  auto each = [&](auto statistic) SKV_FLAT {
    for (int i = 0; i < P::statistics; i++)
      if (is_of_head<P>(i)) statistic(P::reduce(i), statistic_at<P>(i, dim), P::is_vector(i) ? dim : 1, own[i]);
  };
  each([&](Reduce how, int at, int n, OwnVecs&)
           SKV_FLAT { std::fill_n(lanes + at * SKV_PAGE, n * SKV_PAGE, total_of_none(how)); });
  for (int p = 0; p * SKV_PAGE < live; p++) {
    const int slots = std::min(live - p * SKV_PAGE, SKV_PAGE);
    page(p, slots, [&](int s) SKV_FLAT { return Put<P>{tile + s * most, dim, own}; });
    uint32_t* to = ordered + p * SKV_PAGE;
    each([&](Reduce how, int at, int n, OwnVecs& own) SKV_FLAT {
      if (own.of) return own.end_page(slots, sums_at(at));
      if (how != Reduce::nth) return join_rows(how, lanes + at * SKV_PAGE, tile + at, most, n, slots);
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
  each([&](Reduce how, int at, int n, OwnVecs& own) SKV_FLAT {
    if (how == Reduce::nth) return;
    if (own.of) {
      own.add(SKV_PAGE, sums_at(at));
      trees_of(sums_at(at), n, totals + at);
    } else {
      join_lanes(how, lanes + at * SKV_PAGE, n, totals + at);
    }
    for (int f = at; f < at + n; f++) totals[f] = statistic_of(how, totals[f], live);
  });
  return P::across_of(Totals<P>{totals, dim});
}

// Compiled once for the scores that compact and those that replace: for a few head sizes it is much text.
template <class P>
[[gnu::noinline]] typename P::Across across_of_head(const AnyHead& any, uint32_t* ordered) {
  typename P::Across across;
  with_known_dim(any, [&](const AnyHead& h) SKV_FLAT {
    const float* params = h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS;
    PageVecs keys, values;
    keys.pages_ahead = kPageTerms;  // they are added so many pages at a time
    across = gather_across<P>(*h.length, h.dim, params, ordered, [&](int p, int slots, auto put_of) SKV_FLAT {
      prefetch_lanes(h, p + kLanesAhead, P::lanes);
      visit_slots<P>(h, p, 0, slots, P::across_reads_key, P::across_reads_value, &keys, &values,
                     [&](int s, const Slot& slot, const float* states)
                         SKV_FLAT { P::across_slot(slot, states, put_of(s)); });
    });
  });
  return across;
}
