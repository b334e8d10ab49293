// What a policy's expressions are made of, on CUDA. Sixteen lanes own a slot: element i of a lane's vector is dim
// 16 i + lane, so that a lane's sum is one of the sixteen interleaved partial sums of cpu/prelude.hpp and the shuffles
// its tree: the same bits. All sixteen lanes hold the result, and decide alike.
#pragma once
#include "cuda/device.cuh"
#define SKV_INLINE static __device__ __forceinline__
#define SKV_BOTH static __device__ __host__ __forceinline__
#define SKV_TABLE static __constant__ const
#include "shared/limits.hpp"
#include "shared/scalar.hpp"

constexpr int kVecLanes = 16;

struct Vec {
  float at[kMaxDim / kVecLanes];  // [dim / 16]; the rest is never touched, and costs no register once dim is constant
};
using SlotVec = const Vec*;  // the key or value of a slot
template <int>
using AcrossVec = Vec;  // a statistic of a head

SKV_INLINE int vec_lane() { return threadIdx.x % kVecLanes; }
SKV_INLINE uint32_t vec_mask() { return 0xffffu << (threadIdx.x % 32 & 16); }

// Sums over the lanes of a slot: lanes[l] += lanes[l + 8], then 4, 2, 1. Addition commutes, so every lane ends equal.
SKV_INLINE float skv_tree(float partial) {
  for (int width = 8; width > 0; width /= 2) partial += __shfl_xor_sync(vec_mask(), partial, width);
  return partial;
}

#define SKV_ELEMENTS(dim) SKV_UNROLL for (int i = 0; i < kMaxDim / kVecLanes; i++) if (i * kVecLanes < (dim))

SKV_INLINE float skv_dot(const Vec& a, const Vec& b, int dim) {
  float partial = 0;
  SKV_ELEMENTS(dim) partial += a.at[i] * b.at[i];
  return skv_tree(partial);
}

template <class Of>
SKV_INLINE float skv_sum(int dim, Of of) {
  float partial = 0;
  SKV_ELEMENTS(dim) partial += of(i);
  return skv_tree(partial);
}

// Lanes may end with different zeros, and with nothing else that differs.
template <class Of>
SKV_INLINE float skv_extreme_of_lanes(float best, Of of) {
  for (int width = 8; width > 0; width /= 2) best = of(best, __shfl_xor_sync(vec_mask(), best, width));
  return best;
}

template <class Of>
SKV_INLINE float skv_extreme(const Vec& a, int dim, float none, Of of) {
  float best = none;
  SKV_ELEMENTS(dim) best = of(best, a.at[i]);
  return skv_extreme_of_lanes(best, of);
}

#include "shared/vector.hpp"
