// The engine's threads, and memory for the time of an item.
#pragma once
#include <type_traits>

#include "abi.h"
#include "prelude.hpp"

// Which items a worker takes: the next one that nobody has begun, so that one may wait for an earlier one; or
// neighbours one after the other, so that one may prefetch what the next one reads. See skv_exec.
enum class Order { in_order, neighbours };

// Runs fn(item, worker) for items [0, n) on the engine's threads; returns when all are done.
template <class Fn>
SKV_INLINE void parallel_for(const skv_exec* exec, int32_t n, Order order, Fn&& fn) {
  exec->parallel(
      exec->self, n, order == Order::neighbours,
      [](void* arg, int32_t item, int32_t worker) { (*(std::remove_reference_t<Fn>*)arg)(item, worker); }, &fn);
}

// A worker's scratch, handed out front to back.
struct Scratch {
  uint8_t* at;
  Scratch(const skv_exec* exec, int32_t worker) : at(exec->scratch + worker * exec->scratch_bytes) {}
  template <class T>
  T* take(int64_t n) {
    T* out = (T*)at;
    at += (n * sizeof(T) + 63) / 64 * 64;
    return out;
  }
};
