// The seam between the kernels and what runs them: nvcc and a GPU, or a C++ compiler and the emulation.
//
//   Global<T>, Shared<T>   arrays: plain pointers on the GPU, checked views in the emulation
//   Arena                  hands a block's dynamic shared memory out, front to back, the same in every thread
//   Quad                   four words, 16 bytes, the unit of every wide access
//   prefetch               a hint: this word is read soon
//   copy_async …           16 bytes from global to shared memory behind the threads' backs; zeros when not `valid`
//   arrive_last            where blocks of a launch meet, without waiting
//   SKV_LAUNCH             a launch on a stream; its value is 0 or a code of abi.h
//
// Hardware instructions live here and in mma.cuh, each beside its plain form, and nowhere else.
#pragma once
#include <cstdint>
#include <cstdio>

#include "abi.h"

struct alignas(16) Quad {
  uint32_t word[4];
};

#ifdef __CUDACC__
#pragma nv_diag_suppress 177  // traits that this policy does not need
#include <cuda_fp16.h>
#include <cuda_runtime.h>

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

#define SKV_DEVICE_ONLY static __device__ __forceinline__
#define SKV_UNROLL _Pragma("unroll")
#define SKV_UNROLL_4 _Pragma("unroll 4")
#define SKV_LOOP _Pragma("unroll 1")  // loads of one iteration under way, not of all: registers

template <class T>
SKV_DEVICE_ONLY Global<T> global(T* array) {
  return array;
}

struct Arena {
  char* at;
  SKV_DEVICE_ONLY char* start() {
    extern __shared__ uint4 shared_memory[];
    return (char*)shared_memory;
  }
  __device__ __forceinline__ Arena() : at(start()) {}
  template <class T>
  __device__ __forceinline__ Shared<T> take(int n, const char*) {
    T* out = (T*)at;
    at += (n * sizeof(T) + 15) / 16 * 16;
    return out;
  }
};

SKV_DEVICE_ONLY Quad load_quad(const uint32_t* from, int64_t i) {
  Quad out;
  *(uint4*)&out = *(const uint4*)(from + i);
  return out;
}
// For what is read once: first to leave the caches.
SKV_DEVICE_ONLY Quad stream_quad(const uint32_t* from, int64_t i) {
  Quad out;
  *(uint4*)&out = __ldcs((const uint4*)(from + i));
  return out;
}
SKV_DEVICE_ONLY void store_quad(uint32_t* to, int64_t i, const Quad& quad) { *(uint4*)(to + i) = *(const uint4*)&quad; }

// Calls a word's line into the second cache.
SKV_DEVICE_ONLY void prefetch(const uint32_t* from, int64_t i) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from + i));
}

SKV_DEVICE_ONLY void copy_async(uint32_t* to, int i, const uint32_t* from, int64_t j, bool valid) {
  const uint32_t address = (uint32_t)__cvta_generic_to_shared(to + i);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from + j), "r"(valid ? 16 : 0)
               : "memory");
}
SKV_DEVICE_ONLY void commit_async() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `pending` of this thread's groups are under way. Other threads' copies need a barrier after it.
template <int pending>
SKV_DEVICE_ONLY void wait_async() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

SKV_DEVICE_ONLY int atomic_add(Shared<int> array, int i, int value) { return atomicAdd(array + i, value); }

// Whether this block is the last of n to come here with counter i, for all of its threads, which then see what the
// others wrote. The counter begins and ends at 0.
SKV_DEVICE_ONLY bool arrive_last(uint32_t* counters, int64_t i, int n) {
  __syncthreads();  // what this block's threads wrote is thread 0's to release
  uint32_t before = 0;
  if (threadIdx.x == 0)
    asm volatile("atom.acq_rel.gpu.inc.u32 %0, [%1], %2;" : "=r"(before) : "l"(counters + i), "r"(n - 1) : "memory");
  return __syncthreads_or(threadIdx.x == 0 && before == n - 1);
}

// 2^x, 2 ulp, subnormals are 0.
SKV_DEVICE_ONLY float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SKV_DEVICE_ONLY void sin_cos_pi(float x, float* s, float* c) { sincospif(x, s, c); }

// Two floats rounded to nearest into a word, the first one low.
SKV_DEVICE_ONLY uint32_t pack_bf16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
SKV_DEVICE_ONLY uint32_t pack_f16(float low, float high) {
  uint32_t word;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
// The low or the high halves of two words, the first one's low.
SKV_DEVICE_ONLY uint32_t low_halves(uint32_t x, uint32_t y) { return __byte_perm(x, y, 0x5410); }
SKV_DEVICE_ONLY uint32_t high_halves(uint32_t x, uint32_t y) { return __byte_perm(x, y, 0x7632); }
SKV_DEVICE_ONLY float half_to_float(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }

// Nothing: the emulation wants to know every array a kernel may touch.
static inline void expose(const void*, int64_t, const char*) {}

// The kernel of the last launch that failed, of a library.
inline const char* refused_kernel = "no kernel";

template <class... Wanted, class... Given>
static int32_t launch(const char* name, void (*kernel)(Wanted...), dim3 grid, int threads, int shared_bytes,
                      void* stream, Given... given) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return 0;
  if (shared_bytes > 48 * 1024) {
    const cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (e != cudaSuccess) {
      cudaGetLastError();  // not told again by a later launch
      refused_kernel = name;
      return SKV_E_DEVICE + (int32_t)e;
    }
  }
  kernel<<<grid, threads, shared_bytes, (cudaStream_t)stream>>>(given...);
  const cudaError_t e = cudaGetLastError();
  if (e != cudaSuccess) refused_kernel = name;
  return e == cudaSuccess ? 0 : SKV_E_DEVICE + (int32_t)e;
}
#define SKV_LAUNCH(kernel, ...) launch(#kernel, kernel, __VA_ARGS__)

static inline int32_t wait_device() {
  const cudaError_t e = cudaDeviceSynchronize();
  return e == cudaSuccess ? 0 : SKV_E_DEVICE + (int32_t)e;
}
// In words that stay until the next call.
static inline const char* device_error(int32_t code) {
  static char words[256];
  snprintf(words, sizeof words, "%s: %s", refused_kernel, cudaGetErrorString((cudaError_t)code));
  return words;
}

#else
#include "emulate.hpp"  // test/emulation
#endif
