// profile: the rule that a head takes at its prompt's end, and what a rule keeps, by one block of 256 threads. What
// they mean stands in shared/profile.hpp.
//
//   lanes, scores [slot] -> profiles [seq][layer][kv_head] and flags, a bit a slot
//   bytes: 4 a slot and lane, once for the flags, the border and the mass of each rule that is tried, all in L2. Bound
//   by the passes, as select.cuh; later compactions try no rule.
#pragma once
#include "select.cuh"
#include "shared/profile.hpp"

// The mass of the slots without a flag, in the order of statistics: a thread adds up a page, pages follow one another.
template <class P, class KV, int D>
SKV_INLINE float lost_mass(const Head<KV, D>& h, const Selection<P>& c, const BlockMemory& m) {
  const int pages = ceil_div(c.live, SKV_PAGE);
  float total = 0;
  SKV_LOOP for (int base = 0; base < pages; base += kBlockThreads) {
    const int page = base + threadIdx.x;
    if (page < pages) {
      float lost[SKV_PAGE];
    SKV_UNROLL for (int s = 0; s < SKV_PAGE; s++) {
        const int slot = page * SKV_PAGE + s;
        lost[s] = slot < c.live && !c.stays(slot) ? skv_float(lane_of(h, P::first_state + P::mass_state, slot)) : 0.0f;
      }
      SKV_UNROLL for (int width = SKV_PAGE / 2; width > 0; width /= 2)
        SKV_UNROLL for (int l = 0; l < SKV_PAGE / 2; l++) if (l < width) lost[l] += lost[l + width];
      m.bins[threadIdx.x] = skv_bits(lost[0]);
    }
    __syncthreads();
    SKV_LOOP for (int i = 0; i < smaller(kBlockThreads, pages - base); i++) total += skv_float(m.bins[i]);
    __syncthreads();
  }
  return total;
}

// Flags what a rule keeps.
template <class P, class KV, int D>
SKV_INLINE void keep_rule(const Head<KV, D>& h, const Selection<P>& c, const Rule& rule, const BlockMemory& m) {
  const int length = h.row.pos0 + h.row.tokens;
  int mine = 0;
  flag_if<false>(c, [&](int slot) {
    const int32_t pos = lane_of(h, 0, slot);
    const bool stays = is_protected<P>(h, slot, pos) ||
                       spares(rule, length, pos, P::class_lane ? lane_of(h, P::class_lane, slot) : 0);
    mine += !stays;
    return stays;
  });
  const int candidates = block_sum(m, mine);
  if (rule.top >= candidates) return flag_if<false>(c, [](int) { return true; });
  if (rule.top <= 0) return;
  auto rank = [&](int slot) { return rank_of(c.score[slot], lane_of(h, 0, slot)); };
  const uint64_t border =
      radix_border<true>(m, c.live, rule.top, [&](int slot) -> Item { return {!c.stays(slot), rank(slot), 1}; });
  keep_if(c, [&](int slot) { return rank(slot) > border; });
}

// Flags a head's slots that stay; where the prompt ends, by the rule that it takes.
template <class P, class KV, int D>
SKV_INLINE void keep_profile(const Head<KV, D>& h, const Selection<P>& c, const BlockMemory& m) {
  const Params params(h.s.params + (int64_t)h.row.seq * SKV_MAX_PARAMS);
  const int length = h.row.pos0 + h.row.tokens;
  const Global<int32_t> profile = global(h.s.profiles) + h.index;
  int taken = 0;
  if (chooses(h.row)) {
    const float reach = P::threshold(params.at);
    flag_if<false>(c, [](int) { return false; });
    const float all = lost_mass(h, c, m);
    SKV_LOOP for (; taken < P::rules; taken++) {
      keep_rule(h, c, P::rule(taken, params.at, length), m);
      if (reaches(reach, lost_mass(h, c, m), all)) break;
    }
    if (taken == P::rules) flag_if<false>(c, [](int) { return true; });
    if (threadIdx.x == 0) profile[0] = taken;
  } else {
    keep_rule(h, c, P::rule(profile[0], params.at, length), m);
  }
}
