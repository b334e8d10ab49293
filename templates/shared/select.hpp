// What selection means, whoever schedules it: across -> score -> pool -> heads -> window -> keep. Slots are ranked by
// (score, position); the lowest leaves first: the older among equals, NaN before anything.
#pragma once
#include "abi.h"
#include "shared/limits.hpp"
#include "shared/scalar.hpp"
#include "shared/traits.hpp"

// Score and position as one number that sorts like them: NaN lowest, -0 equal to +0.
SKV_INLINE uint64_t rank_of(float score, int32_t pos) { return (uint64_t)skv_ordered(score) << 32 | (uint32_t)pos; }

// Whether tables of constants for so many layers and KV heads, 0 for any number, are for a model of this shape.
SKV_BOTH bool tables_fit(int layers, int heads, const skv_shape* s) {
  return (!layers || layers == s->layers) && (!heads || heads == s->kv_heads);
}

// The positions that a row's window protects: below `first`, from `end` on, and below `prompt` if the policy says so.
struct Window {
  int32_t first, end, prompt;
};

SKV_INLINE Window window_of(const skv_row& row) {
  return {row.window_first, row.pos0 + row.tokens - row.window_last, row.prompt};
}

// Whether a slot never leaves. classes: its SKV_CLASS_… bits, read only if the window names some.
template <class P>
SKV_INLINE bool is_protected(const Window& window, int32_t pos, int32_t classes) {
  bool yes = (pos < window.first) | (pos >= window.end);
  if (P::window_prompt) yes |= pos < window.prompt;
  if (P::window_classes) yes |= (classes & P::window_classes) != 0;
  return yes;
}

// Whether each compaction of one slot can be a replacement by the newest: the lowest rank of a head, or of heads that
// decide together, is all that selection looks for. An ordered policy has neighbours (pool, chunks, partitions).
template <class P>
SKV_BOTH constexpr bool replaces() {
  return !P::ordered && P::keep == Keep::topK && P::heads != Heads::pooled;
}

// Candidate i's score among its neighbours': the mean always divides by the width (zeros outside), the maximum ignores
// the outside. score(k): candidate k's own.
template <class P, class Score>
SKV_INLINE float pooled_score(int i, int candidates, Score score) {
  constexpr int half = P::pool_width / 2;
  const int from = i - half > 0 ? i - half : 0, to = i + half < candidates - 1 ? i + half : candidates - 1;
  float value = score(from);
  for (int k = from + 1; k <= to; k++) {
    const float next = score(k);
    value = P::pool == Pool::max ? skv_max(value, next) : value + next;
  }
  return P::pool == Pool::mean ? value / (float)P::pool_width : value;
}

// A head's quota of candidates: what its protected slots leave of the budget.
SKV_BOTH int quota_of(int budget, int live, int candidates) {
  const int quota = budget - (live - candidates);
  return quota > 0 ? quota : 0;
}

// Where a part of the budget is guaranteed: how many of a head's candidates stay whatever other heads have. Protected
// slots are of that part.
SKV_INLINE int guaranteed_of(double alpha, int budget, int live, int candidates) {
  const int own = (int)floor(alpha * budget) - (live - candidates);
  return own < 0 ? 0 : own < candidates ? own : candidates;
}

// Where budgets flow between heads otherwise: `alpha` of it is the head's own quota, the rest how many of the best
// candidates of all heads are its own. Rounded half up.
SKV_INLINE int pooled_quota(double alpha, int winners, int quota) {
  return (int)floor((1.0 - alpha) * winners + alpha * quota + 0.5);
}
