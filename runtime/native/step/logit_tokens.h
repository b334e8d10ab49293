/* Which of a step's tokens have logits that a draw reads: only they go through what follows the last attention. */
#ifndef SKV_LOGIT_TOKENS_H
#define SKV_LOGIT_TOKENS_H
#include <algorithm>

#include "backend.h"

namespace skv {

/* place [tokens]: a token's place among them, in the step's order, or -1. Returns how many they are. */
inline int find_logit_tokens(const skv_step_counts& counts, const skv_sampler* sampler, int32_t* place) {
  std::fill_n(place, counts.tokens, -1);
  for (int i = 0; i < counts.samplers; i++) place[sampler[i].source] = 0;
  int found = 0;
  for (int t = 0; t < counts.tokens; t++)
    if (place[t] == 0) place[t] = found++;
  return found;
}

}  // namespace skv
#endif
