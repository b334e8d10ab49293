// Vectors of a policy's expressions, head_dim floats. A prelude defines before this what a thread holds of one:
//
//   Vec                elements `at` that this thread holds: all of them on the CPU, every sixteenth on CUDA
//   SlotVec            points to the key or value of a slot; AcrossVec<N>: a Vec that is statistic N of a head
//   SKV_ELEMENTS(dim)  a loop over their indices i
//   skv_dot            sixteen interleaved partial sums in index order, then a tree: lanes[l] += lanes[l + 8], 4, 2, 1
//   skv_sum            the same of any number of each element: of(i)
//   skv_extreme        the same of the larger or smaller of two, from one that none exceeds: NaN is left out
#pragma once
#include "shared/scalar.hpp"

SKV_INLINE float skv_norm1(const Vec& a, int dim) {
  return skv_sum(dim, [&](int i) { return skv_abs(a.at[i]); });
}

SKV_INLINE float skv_variance(const Vec& a, int dim) {
  const float mean = skv_sum(dim, [&](int i) { return a.at[i]; }) / (float)dim;
  const float squares = skv_sum(dim, [&](int i) { return (a.at[i] - mean) * (a.at[i] - mean); });
  return squares / (float)(dim - 1);
}

SKV_INLINE float skv_norm(const Vec& a, int dim) { return skv_sqrt(skv_dot(a, a, dim)); }
SKV_INLINE float skv_cosine(const Vec& a, const Vec& b, int dim) {
  return skv_dot(a, b, dim) / (skv_norm(a, dim) * skv_norm(b, dim));
}

// 0 for -0, whichever of them comes first.
SKV_INLINE float skv_highest(const Vec& a, int dim) {
  return skv_extreme(a, dim, -INFINITY, [](float x, float y) { return skv_max(x, y); }) + 0.0f;
}
SKV_INLINE float skv_lowest(const Vec& a, int dim) {
  return skv_extreme(a, dim, INFINITY, [](float x, float y) { return skv_min(x, y); }) + 0.0f;
}

SKV_INLINE Vec skv_scale(const Vec& a, float s, int dim) {
  Vec out;
  SKV_ELEMENTS(dim) out.at[i] = a.at[i] * s;
  return out;
}
SKV_INLINE Vec skv_add(const Vec& a, const Vec& b, int dim) {
  Vec out;
  SKV_ELEMENTS(dim) out.at[i] = a.at[i] + b.at[i];
  return out;
}
SKV_INLINE Vec skv_sub(const Vec& a, const Vec& b, int dim) {
  Vec out;
  SKV_ELEMENTS(dim) out.at[i] = a.at[i] - b.at[i];
  return out;
}
SKV_INLINE Vec skv_mul(const Vec& a, const Vec& b, int dim) {
  Vec out;
  SKV_ELEMENTS(dim) out.at[i] = a.at[i] * b.at[i];
  return out;
}
SKV_INLINE Vec skv_div(const Vec& a, const Vec& b, int dim) {
  Vec out;
  SKV_ELEMENTS(dim) out.at[i] = a.at[i] / b.at[i];
  return out;
}
