// What a policy's expressions are made of, on the CPU.
#pragma once
#define SKV_INLINE static inline __attribute__((always_inline))
#define SKV_BOTH SKV_INLINE                      // what CUDA has on host and device
#define SKV_FLAT __attribute__((always_inline))  // of a lambda or a member
#define SKV_TABLE static constexpr               // of a policy's constants
#define SKV_ELEMENTS(dim) for (int i = 0; i < (dim); i++)
#include "shared/limits.hpp"
#include "shared/scalar.hpp"

struct Vec {
  float at[kMaxDim];  // [dim]
};

// The key or value of a slot in its page (vectors.hpp).
struct PageVecs;
struct SlotVec {
  const PageVecs* page;
  int slot;
  bool answered;  // whatever is asked of it has been asked of another slot of its page
  const SlotVec& operator*() const { return *this; }  // expressions read through a pointer
  operator Vec() const;
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

template <class Of>
SKV_INLINE float skv_sum(int dim, Of of) {
  float lanes[16] = {0};
  for (int i = 0; i < dim; i += 16)
    for (int l = 0; l < 16; l++) lanes[l] += of(i + l);
  return skv_tree(lanes);
}

template <class Of>
SKV_INLINE float skv_extreme(const Vec& a, int dim, float none, Of of) {
  float lanes[16];
  for (int l = 0; l < 16; l++) lanes[l] = none;
  for (int i = 0; i < dim; i += 16)
    for (int l = 0; l < 16; l++) lanes[l] = of(lanes[l], a.at[i + l]);
  for (int width = 8; width > 0; width /= 2)
    for (int l = 0; l < width; l++) lanes[l] = of(lanes[l], lanes[l + width]);
  return lanes[0];
}

#include "shared/vector.hpp"  // in terms of what stands above
