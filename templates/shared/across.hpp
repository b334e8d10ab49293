// Statistics of `across`: a row of floats each slot, one for a number, dim for a vector; a page's rows are reduced to
// one, pages follow in order: sums in a tree over the slots, as skv_tree, absent ones 0; extremes in slot order. That
// is the language's order, hence its bits. A policy says of statistic i: reduce(i), is_vector(i), and of the `ranked`
// ones of the kind nth, which look at all slots at once, how many: nth(i).
#pragma once
#include "shared/traits.hpp"
#include "shared/vector.hpp"

SKV_BOTH constexpr bool is_place(Reduce how) { return how == Reduce::softmax || how == Reduce::rank; }

// Whether statistic i is of all live slots of a head.
template <class P>
SKV_BOTH constexpr bool is_of_head(int i) {
  if constexpr (P::partitioned) return !P::is_next(i) && !is_place(P::reduce(i));
  return true;
}

// Where statistic i begins in a row of floats; i = P::statistics gives the row's length.
template <class P>
SKV_BOTH constexpr int statistic_at(int i, int dim) {
  int at = 0;
  for (int k = 0; k < i; k++) at += P::is_vector(k) ? dim : 1;
  return at;
}

// The total of no slots.
SKV_INLINE float total_of_none(Reduce how) {
  return how == Reduce::max ? -INFINITY : how == Reduce::min ? INFINITY : 0.0f;
}

SKV_BOTH constexpr bool is_extreme(Reduce how) { return how == Reduce::max || how == Reduce::min; }

SKV_INLINE float extreme_of(Reduce how, float a, float b) { return how == Reduce::max ? skv_max(a, b) : skv_min(a, b); }
