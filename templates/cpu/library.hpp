// The policy's functions as abi.h wants them, for whatever type the pages hold.
#pragma once
#include "attend.hpp"
#include "compact.hpp"
#include "probe.hpp"
#include "shared/errors.hpp"

template <class P>
struct Passes {
  static int64_t scratch_bytes(const skv_shape* s) {
    const int64_t tile = tile_scratch(s, P::observes), select = P::keep == Keep::all ? 0 : select_scratch(s);
    return std::max(tile, select);
  }
  static int64_t step_floats(const skv_shape* s) { return StepScratch::floats(s, P::observes); }
  static int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec) {
    return is_bf16(step) ? ::append<P, Bf16>(step, layer, exec) : ::append<P, F32>(step, layer, exec);
  }
  static int32_t attend(const skv_step* step, int32_t layer, const skv_exec* exec) {
    return is_bf16(step) ? ::attend<P, Bf16>(step, layer, exec) : ::attend<P, F32>(step, layer, exec);
  }
  static int32_t compact(const skv_step* step, const skv_exec* exec) {
    return is_bf16(step) ? ::compact<P, Bf16>(step, exec) : ::compact<P, F32>(step, exec);
  }

 private:
  static bool is_bf16(const skv_step* step) { return step->shape->kv_type == SKV_BF16; }
};
