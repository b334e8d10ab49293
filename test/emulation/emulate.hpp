// The words of CUDA that the kernels use, on a CPU, and device.cuh's seam over them. Never part of a build by nvcc.
#pragma once
#ifdef __CUDACC__
#error "the emulation is for C++ compilers"
#endif
#include <algorithm>
#include <cmath>

#include "warp.hpp"
#include "wishes.hpp"

#define __global__
#define __device__
#define __constant__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define SKV_DEVICE_ONLY inline
#define SKV_UNROLL
#define SKV_UNROLL_4
#define SKV_LOOP

using dim3 = emulate::Dim;
using emulate::expose;
using emulate::global;
template <class T>
using Global = emulate::View<T>;
template <class T>
using Shared = emulate::View<T>;

#define threadIdx (emulate::machine.thread_index)
#define blockIdx (emulate::machine.block_index)
#define blockDim (emulate::machine.block)
#define gridDim (emulate::machine.grid)
#define EMULATE_HERE (emulate::Place{__FILE__, __LINE__})
#define __syncthreads() emulate::barrier(EMULATE_HERE)
#define __syncwarp(...) emulate::sync_warp(EMULATE_HERE __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_sync(mask, value, lane) emulate::shuffle(emulate::Source::index, mask, value, lane, EMULATE_HERE)
#define __shfl_xor_sync(mask, value, n) emulate::shuffle(emulate::Source::exclusive, mask, value, n, EMULATE_HERE)
#define __shfl_up_sync(mask, value, n) emulate::shuffle(emulate::Source::up, mask, value, n, EMULATE_HERE)
#define __ballot_sync(mask, yes) emulate::ballot(mask, yes, EMULATE_HERE)
#define __any_sync(mask, yes) (emulate::ballot(mask, yes, EMULATE_HERE) != 0)
#define __match_any_sync(mask, value) emulate::match(mask, value, EMULATE_HERE)
using std::max;
using std::min;
// The library's own are calls.
inline float emulated_fmaxf(float a, float b) { return a != a || a < b ? b : a; }
inline float emulated_fminf(float a, float b) { return a != a || b < a ? b : a; }
#define fmaxf emulated_fmaxf
#define fminf emulated_fminf
inline int __popc(uint32_t x) { return __builtin_popcount(x); }
inline int __ffs(uint32_t x) { return __builtin_ffs(int(x)); }

// A block's shared memory. Views overlap as they would on the GPU when more is taken than was asked for at the launch.
struct Arena {
  size_t used = 0;
  template <class T>
  Shared<T> take(int n, const char* name, emulate::Place place = {__builtin_FILE(), __builtin_LINE()}) {
    auto& m = emulate::machine;
    const size_t from = used;
    used += (n * sizeof(T) + 15) / 16 * 16;
    if (used > m.shared_bytes)
      emulate::fail(place, "%s ends at byte %zu of %zu bytes of shared memory", name, used, m.shared_bytes);
    char* base = (char*)(((uintptr_t)m.shared.data() + 15) & ~(uintptr_t)15);
    emulate::Array array;
    array.name = name;
    array.cells = m.shared_cells.data() + from / 4;
    array.count = n;
    array.offset = 0;
    array.shared = true;
    return Shared<T>((T*)(base + from), array);
  }
};

template <class View>
Quad load_quad(const View& from, emulate::At at) {
  if ((at.i + from.array().offset) % 4) emulate::fail(at.place, "a wide load of %s is not aligned", from.array().name);
  Quad out;
  for (int w = 0; w < 4; w++) out.word[w] = from[emulate::At(at.i + w, at.place.file, at.place.line)];
  return out;
}
template <class View>
Quad stream_quad(const View& from, emulate::At at) {
  return load_quad(from, at);
}
inline void store_quad(const emulate::View<uint32_t>& to, emulate::At at, const Quad& quad) {
  if ((at.i + to.array().offset) % 4) emulate::fail(at.place, "a wide store to %s is not aligned", to.array().name);
  for (int w = 0; w < 4; w++) to[emulate::At(at.i + w, at.place.file, at.place.line)] = quad.word[w];
}

template <class View>
void prefetch(const View& from, emulate::At at) {
  from[at];  // checks the index
}

// Asynchronous copies are done when they are waited for, not before: a missing wait shows.
inline void copy_async(const emulate::View<uint32_t>& to, emulate::At at, const emulate::View<const uint32_t>& from,
                       int64_t j, bool valid) {
  emulate::Thread& t = emulate::current();
  t.copies.push_back({t.group, [=] {
                        const emulate::Place place = at.place;
                        store_quad(to, at, valid ? load_quad(from, emulate::At(j, place.file, place.line)) : Quad{});
                      }});
}
inline void commit_async() { emulate::current().group++; }
template <int pending>
void wait_async() {
  emulate::Thread& t = emulate::current();
  size_t done = 0;
  while (done < t.copies.size() && t.copies[done].group < t.group - pending) t.copies[done++].run();
  t.copies.erase(t.copies.begin(), t.copies.begin() + done);
}

inline int atomic_add(const emulate::View<int>& array, emulate::At at, int value) {
  auto ref = array[at];
  if (ref.cell->write.launch != emulate::machine.launch || ref.cell->write.block != emulate::machine.block_number)
    emulate::fail(at.place, "it adds to %s before anything is written there", array.array().name);
  emulate::note_write(*ref.cell, array.array().name, ref.index, at.place, true);
  return std::exchange(*ref.at, *ref.at + value);
}

inline bool arrive_last(const emulate::View<uint32_t>& counters, emulate::At at, int n) {
  emulate::Machine& m = emulate::machine;
  emulate::barrier(at.place);
  if (m.now == 0) {
    auto ref = counters[at];
    emulate::note_write(*ref.cell, counters.array().name, ref.index, at.place, true);
    if (*ref.at >= (uint32_t)n)
      emulate::fail(at.place, "%s[%lld] counts %u of %d blocks", counters.array().name, (long long)ref.index, *ref.at,
                    n);
    m.arrived.push_back({ref.cell, m.block_number, m.epoch});
    m.last = *ref.at == (uint32_t)n - 1;
    *ref.at = m.last ? 0 : *ref.at + 1;
    if (m.last) {
      const auto full = std::stable_partition(m.arrived.begin(), m.arrived.end(),
                                              [&](const emulate::Arrival& each) { return each.counter != ref.cell; });
      m.seen.insert(m.seen.end(), full, m.arrived.end());
      m.arrived.erase(full, m.arrived.end());
    }
  }
  emulate::barrier(at.place);
  return m.last;
}

inline float exp2_fast(float x) { return exp2f(x); }
inline void sin_cos_pi(float x, float* s, float* c) {
  *s = (float)sin(M_PI * (double)x);
  *c = (float)cos(M_PI * (double)x);
}

inline uint32_t low_halves(uint32_t x, uint32_t y) { return (x & 0xffff) | y << 16; }
inline uint32_t high_halves(uint32_t x, uint32_t y) { return x >> 16 | (y & 0xffff0000u); }
inline float half_to_float(uint16_t bits) {
  const uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  float size;
  if (exponent == 0) {
    size = (float)fraction * 0x1p-24f;
  } else {
    const uint32_t word = (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
    memcpy(&size, &word, 4);
  }
  return bits >> 15 ? -size : size;
}
inline uint16_t float_to_half(float x) {  // to nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return 0x7fff;
  if (size >= 0x477ff000) return uint16_t(sign | 0x7c00);                                       // from 65520 on
  if (size < 0x38800000) return uint16_t(sign | (uint32_t)nearbyintf(fabsf(x) * 16777216.0f));  // subnormal
  return uint16_t(sign | (size + 0xfff + (size >> 13 & 1) - (112u << 23)) >> 13);
}

inline uint32_t pack_f16(float low, float high) { return float_to_half(low) | (uint32_t)float_to_half(high) << 16; }
inline uint32_t float_to_bf16(float x) {  // to nearest, ties to even
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return x != x ? 0x7fffu : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline uint32_t pack_bf16(float low, float high) { return float_to_bf16(low) | float_to_bf16(high) << 16; }

template <class... Wanted, class... Given>
int32_t launch(const char* name, void (*kernel)(Wanted...), dim3 grid, int threads, int shared_bytes, void*,
               Given... given) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return 0;
  if (auto* graph = emulate::kept) {
    graph->push_back([=] { return launch(name, kernel, grid, threads, shared_bytes, nullptr, given...); });
    return 0;
  }
  if (const int code = emulate::failing(name, true)) {
    emulate::machine.error = std::string(name) + ": " + emulate::words_of(code);
    return SKV_E_DEVICE + code;
  }
  if (emulate::wish("SKV_EMULATED_LAUNCHES", 0)) fprintf(stderr, "%s\t%d\t%d\n", name, threads, shared_bytes);
  emulate::forget_meets(threads);
  const bool done = emulate::run(name, grid, dim3(threads), (size_t)shared_bytes, [&] { kernel(given...); });
  return done ? 0 : SKV_E_DEVICE;
}
#define SKV_LAUNCH(kernel, ...) launch(#kernel, kernel, __VA_ARGS__)

inline int32_t wait_device() { return 0; }
inline const char* device_error(int32_t) { return emulate::machine.error.c_str(); }
