// The policy's functions as abi.h wants them, for whatever type the pages hold.
#pragma once
#include "attend.hpp"
#include "compact.hpp"
#include "probe.hpp"

template <class P>
struct Passes {
  // What the passes rely on.
  static int32_t accepts(const skv_shape* s) {
    if (s->kv_type != SKV_BF16 && s->kv_type != SKV_F32) return SKV_E_SHAPE;
    if (s->io_type != SKV_F32) return SKV_E_SHAPE;
    if (s->head_dim < 16 || s->head_dim > kMaxDim || s->head_dim % 16) return SKV_E_SHAPE;
    if (s->group > kTileRows) return SKV_E_SHAPE;  // a token's rows lie in one tile
    if (P::keep != Keep::all && P::heads != Heads::own && s->kv_heads > kMostHeads) return SKV_E_HEADS;
    return 0;
  }
  static int64_t scratch_bytes(const skv_shape* s) {
    const int64_t tile = tile_scratch(s, P::observes), select = P::keep == Keep::all ? 0 : select_scratch(s);
    return std::max(tile, select);
  }
  static int64_t step_floats(const skv_shape* s) { return StepScratch::floats(s, P::observes); }
  static int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec) {
    return by_type(step->shape, [&](auto kv) { return ::append<P, decltype(kv)>(step, layer, exec); });
  }
  static int32_t attend(const skv_step* step, int32_t layer, const skv_exec* exec) {
    return by_type(step->shape, [&](auto kv) { return ::attend<P, decltype(kv)>(step, layer, exec); });
  }
  static int32_t compact(const skv_step* step, const skv_exec* exec) {
    return by_type(step->shape, [&](auto kv) { return ::compact<P, decltype(kv)>(step, exec); });
  }

 private:
  template <class Pass>
  static int32_t by_type(const skv_shape* s, Pass pass) {
    if (const int32_t code = accepts(s)) return code;
    return s->kv_type == SKV_BF16 ? pass(Bf16()) : pass(F32());
  }
};
