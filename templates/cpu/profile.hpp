// profile: the rule that a head takes at its prompt's end, and what a rule keeps.
//
//   states [state][slot], scores [slot] -> profiles [seq][layer][kv_head], and which slots stay
//   reads 16 bytes a slot for each rule that is tried; later compactions try none
#pragma once
#include "select.hpp"
#include "shared/profile.hpp"

// The mass of the slots that leave, in the order of statistics. stays [live], null: of all.
SKV_INLINE float lost_mass(const AnyHead& h, int live, const uint8_t* stays, const PolicyPasses& policy) {
  float total = 0;
  for (int p = 0; p * SKV_PAGE < live; p++) {
    const float* mass = h.state(p, policy.first_state, policy.mass_state);
    float lost[SKV_PAGE];
    for (int s = 0; s < SKV_PAGE; s++) {
      const int slot = p * SKV_PAGE + s;
      lost[s] = slot >= live || (stays && stays[slot]) ? 0.0f : mass[s];
    }
    total += skv_tree(lost);
  }
  return total;
}

// Marks what a rule keeps. window [live]: the slots that stay anyway.
SKV_INLINE void keep_rule(const AnyHead& h, Selection* c, const uint8_t* window, const Rule& rule,
                          const PolicyPasses& policy) {
  const int length = h.row->pos0 + h.row->tokens;
  c->candidates = 0;
  for (int s = 0; s < c->live; s++) {
    const int page = s / SKV_PAGE, at = s % SKV_PAGE;
    const int32_t pos = h.lane(page, 0)[at], classes = policy.class_lane ? h.lane(page, policy.class_lane)[at] : 0;
    c->stays[s] = window[s] || spares(rule, length, pos, classes);
    c->rank[s] = c->stays[s] ? ~0ull : rank_of(c->score[s], pos);
    c->candidate[c->candidates] = s;
    c->candidates += !c->stays[s];
  }
  keep_best(c, rule.top);
}

// Marks a head's slots that stay; where the prompt ends, by the rule that it takes.
SKV_INLINE void keep_profile(const AnyHead& h, Selection* c, const PolicyPasses& policy) {
  const float* params = h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS;
  const int length = h.row->pos0 + h.row->tokens;
  auto* window = (uint8_t*)c->extra;
  memcpy(window, c->stays, c->live);
  if (!chooses(*h.row)) return keep_rule(h, c, window, policy.rule(*h.profile, params, length), policy);
  const float reach = policy.threshold(params), all = lost_mass(h, c->live, nullptr, policy);
  for (int i = 0; i < policy.rules; i++) {
    keep_rule(h, c, window, policy.rule(i, params, length), policy);
    *h.profile = i;
    if (reaches(reach, lost_mass(h, c->live, c->stays, policy), all)) return;
  }
  *h.profile = policy.rules;
  memset(c->stays, 1, c->live);
}

// Whether a head has taken everything: then it is not even scored.
SKV_INLINE bool keeps_everything(const AnyHead& h, const PolicyPasses& policy) {
  return policy.keep == Keep::profile && !chooses(*h.row) && *h.profile == policy.rules;
}
