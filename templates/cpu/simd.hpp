// Sixteen floats at a time, in the compiler's own vectors: one register with AVX-512, two with AVX2, four elsewhere.
#pragma once
#include <cstdint>
#include <utility>

#include "prelude.hpp"

typedef float f32x16 __attribute__((vector_size(64), aligned(64)));
typedef float f32x16u __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u32x16 __attribute__((vector_size(64), aligned(64)));
typedef uint32_t u32x16u __attribute__((vector_size(64), aligned(4)));
typedef int32_t i32x16 __attribute__((vector_size(64), aligned(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32), aligned(32)));
typedef uint8_t u8x16 __attribute__((vector_size(16), aligned(16)));

// A register of floats, and of their bits. What stays in registers is counted in these: sixteen floats are kRegisters.
// Comparisons, choices and shuffles of more than a register GCC takes apart lane by lane.
#if defined(__AVX512F__)
constexpr int kRegister = 16;
#elif defined(__FMA__)
constexpr int kRegister = 8;
#else
constexpr int kRegister = 4;
#endif
constexpr int kRegisters = 16 / kRegister;
typedef float f32xN __attribute__((vector_size(4 * kRegister)));
typedef float f32xNu __attribute__((vector_size(4 * kRegister), aligned(4)));
typedef uint32_t u32xN __attribute__((vector_size(4 * kRegister)));
typedef int32_t i32xN __attribute__((vector_size(4 * kRegister)));

// Sixteen floats, register by register.
union Sixteen {
  f32x16 all;
  f32xN reg[kRegisters];
};

// Two neighbouring elements of the vectors of a register of slots.
struct Two {
  f32xN even, odd;
};

template <class V = f32x16>
SKV_INLINE V splat(float x) {
  return x - V{};
}

// Lane Lanes::of(l) of a and b, one behind the other, or of v, in lane l: the one place with both compilers' names for
// it.
template <class V, class Lanes>
class Shuffle {
 public:
#if defined(__clang__)
  SKV_FLAT V operator()(V a, V b) const { return of(a, b, std::make_index_sequence<sizeof(V) / 4>()); }
  SKV_FLAT V operator()(V v) const { return (*this)(v, v); }

 private:
  template <size_t... l>
  SKV_FLAT static V of(V a, V b, std::index_sequence<l...>) {
    return __builtin_shufflevector(a, b, Lanes::of(l)...);
  }
#else
  SKV_FLAT Shuffle() {
    for (uint32_t l = 0; l < sizeof(V) / 4; l++) from_[l] = Lanes::of(l);
  }
  SKV_FLAT V operator()(V a, V b) const { return __builtin_shuffle(a, b, from_); }
  SKV_FLAT V operator()(V v) const { return __builtin_shuffle(v, from_); }

 private:
  decltype(V{} < V{}) from_;
#endif
};

// All ones in lanes [0, n), else 0.
SKV_INLINE i32x16 first_lanes(int n) {
  const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return lane < n - (i32x16){};
}
