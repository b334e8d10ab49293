// The policy's functions as abi.h wants them: its own passes, and the kernels that call them.
#pragma once
#include "observe.hpp"
#include "probe.hpp"
#include "replace.hpp"

template <class P>
PolicyPasses passes_of() {
  PolicyPasses passes = {};
  passes.lanes = P::lanes;
  passes.shift_lane = P::shift_lane;
  passes.class_lane = P::class_lane;
  passes.states = P::states;
  passes.first_state = P::first_state;
  for (int i = 0; i < P::states; i++) passes.init[i] = P::init(i);
  passes.observes = P::observes;
  passes.replaces = replaces_one<P>();
  passes.ordered = P::ordered;
  passes.group = P::group;
  passes.heads = P::heads;
  passes.keep = P::keep;
  passes.chunk = P::chunk;
  passes.alpha = P::alpha;
  passes.guaranteed = P::guaranteed;
  passes.ranked = P::ranked;
  passes.places = P::places;
  passes.table_layers = P::table_layers;
  passes.table_heads = P::table_heads;
  if constexpr (P::begins) passes.begin = begin<P>;
  if constexpr (P::observes) passes.observe = observe<P>;
  if constexpr (P::keep != Keep::all) passes.score = score<P>;
  if constexpr (replaces_one<P>()) passes.replace = replace<P>;
  passes.threshold = [](const float* params) { return P::threshold(params); };
  if constexpr (P::keep == Keep::profile) {
    passes.rules = P::rules;
    passes.mass_state = P::mass_state;
    passes.rule = [](int i, const float* params, int length) { return P::rule(i, params, length); };
  }
  return passes;
}

template <class P>
struct Passes {
  static inline const PolicyPasses own = passes_of<P>();
  static int32_t accepts(const skv_shape* s) { return ::accepts(s, own); }
  static int64_t scratch_bytes(const skv_shape* s) { return ::scratch_bytes(s, own); }
  static int64_t step_floats(const skv_shape* s) { return ::step_floats(s, own); }
  static int32_t append(const skv_step* step, int32_t layer, const skv_exec* exec) {
    return ::append(step, layer, exec, own);
  }
  static int32_t attend(const skv_step* step, int32_t layer, const skv_exec* exec) {
    return ::attend(step, layer, exec, own);
  }
  static int32_t compact(const skv_step* step, const skv_exec* exec) { return ::compact(step, exec, own); }
};
