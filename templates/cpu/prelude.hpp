// What a policy's expressions are made of, on the CPU.
#pragma once
#define SKV_INLINE static inline __attribute__((always_inline))
#define SKV_FLAT __attribute__((always_inline))  // of a lambda
#include "shared/scalar.hpp"

// Vectors are head_dim floats. Sums have one shape everywhere: 16 interleaved partial sums in index order, then a tree.
constexpr int kMaxDim = 256;

struct Vec {
  float at[kMaxDim];
};

// Sum of sixteen: halves onto each other. Step by step, for a loop over widths stays one and goes through memory.
SKV_INLINE float skv_tree(const float* lanes) {
  float eight[8], four[4];
  for (int l = 0; l < 8; l++) eight[l] = lanes[l] + lanes[l + 8];
  for (int l = 0; l < 4; l++) four[l] = eight[l] + eight[l + 4];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

SKV_INLINE float skv_dot(const Vec& a, const Vec& b, int dim) {
  float lanes[16] = {0};
  for (int i = 0; i < dim; i += 16)
    for (int l = 0; l < 16; l++) lanes[l] += a.at[i + l] * b.at[i + l];
  return skv_tree(lanes);
}

SKV_INLINE float skv_norm(const Vec& a, int dim) { return skv_sqrt(skv_dot(a, a, dim)); }
SKV_INLINE float skv_cosine(const Vec& a, const Vec& b, int dim) {
  return skv_dot(a, b, dim) / (skv_norm(a, dim) * skv_norm(b, dim));
}

SKV_INLINE Vec skv_scale(const Vec& a, float s, int dim) {
  Vec out;
  for (int i = 0; i < dim; i++) out.at[i] = a.at[i] * s;
  return out;
}
SKV_INLINE Vec skv_add(const Vec& a, const Vec& b, int dim) {
  Vec out;
  for (int i = 0; i < dim; i++) out.at[i] = a.at[i] + b.at[i];
  return out;
}
SKV_INLINE Vec skv_sub(const Vec& a, const Vec& b, int dim) {
  Vec out;
  for (int i = 0; i < dim; i++) out.at[i] = a.at[i] - b.at[i];
  return out;
}
SKV_INLINE Vec skv_mul(const Vec& a, const Vec& b, int dim) {
  Vec out;
  for (int i = 0; i < dim; i++) out.at[i] = a.at[i] * b.at[i];
  return out;
}
