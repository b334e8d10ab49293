// Statistics of `across`: a row of floats each slot, one for a number, dim for a vector. Sums have the language's
// order, hence its bits, which is that of sums over a vector: slot s goes to the sum s % 16, in slot order, then
// skv_tree. Extremes leave NaN out and are 0 for -0, in whatever order. A policy says of statistic i: reduce(i),
// is_vector(i), and of the `ranked` ones of the kind nth, which look at all slots at once, how many: nth(i).
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
SKV_INLINE float joined(Reduce how, float a, float b) { return is_extreme(how) ? extreme_of(how, a, b) : a + b; }

// What becomes of a total of `live` slots.
SKV_INLINE float statistic_of(Reduce how, float total, int live) {
  if (is_extreme(how)) return total + 0.0f;
  return how == Reduce::mean ? total / (float)live : total;
}
