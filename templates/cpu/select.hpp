// select: which slots of each KV head stay: score -> pool -> heads -> window -> keep.
//
//   scores, ranks [slot] and candidates of a unit lie in its worker's scratch
//   costs the scores (score.hpp), 12 bytes a slot written and read again, and one partial sort of the candidates,
//   linear on average
//
// A unit is what decides together: a KV head, or all heads of a layer.
#pragma once
#include <algorithm>

#include "exec.hpp"
#include "kernels.hpp"
#include "shared/select.hpp"

// Most memory of a unit: every head of a layer at full length.
SKV_INLINE int64_t select_scratch(const skv_shape* s, const PolicyPasses& policy) {
  const int64_t slot = 40 + 4 * (policy.ranked + policy.places);
  return (int64_t)s->kv_heads * ((int64_t)s->max_slots * slot + 1024) + 1024;
}

SKV_INLINE Selection new_selection(Scratch* scratch, int live, const PolicyPasses& policy) {
  const int padded = pages_of(live) * SKV_PAGE;
  Selection c;
  c.live = live;
  c.candidates = 0;
  c.score = scratch->take<float>(padded);
  c.rank = scratch->take<uint64_t>(padded);
  c.stays = scratch->take<uint8_t>(padded);
  c.candidate = scratch->take<int>(padded);
  c.order = scratch->take<uint64_t>(live);
  c.extra = scratch->take<float>(live);
  c.ordered = scratch->take<uint32_t>((int64_t)policy.ranked * live);
  c.placed = scratch->take<float>((int64_t)policy.places * live);
  return c;
}

// One set for the layer: every head's score becomes the mean. Heads that share have the same slots.
SKV_INLINE void mean_scores(Selection* unit, int n) {
  for (int i = 0; i < unit[0].candidates; i++) {
    const int s = unit[0].candidate[i];
    float sum = unit[0].score[s];
    for (int k = 1; k < n; k++) sum += unit[k].score[s];
    for (int k = 0; k < n; k++) unit[k].score[s] = sum / (float)n;
  }
}

// Ranks of candidates; protected slots rank above all.
SKV_INLINE void rank_slots(const AnyHead& h, Selection* c) {
  for (int p = 0; p * SKV_PAGE < c->live; p++) {
    const int32_t* pos = h.lane(p, 0);
    for (int s = 0; s < SKV_PAGE; s++) {
      const int i = p * SKV_PAGE + s;
      const uint64_t rank = rank_of(c->score[i], pos[s]);
      c->rank[i] = c->stays[i] ? ~0ull : rank;
    }
  }
}

// The rank from which on the best `count` of n ranks begin; they are reordered. 0 < count < n.
SKV_INLINE uint64_t border_of(uint64_t* ranks, int64_t n, int64_t count) {
  std::nth_element(ranks, ranks + (n - count), ranks + n);
  return ranks[n - count];
}

// The rank from which on a head's candidates are its best `count`.
SKV_INLINE uint64_t best_from(const Selection& c, int count) {
  if (count <= 0 || count >= c.candidates) return count > 0 ? 0 : ~0ull;
  for (int i = 0; i < c.candidates; i++) c.order[i] = c.rank[c.candidate[i]];
  return border_of(c.order, c.candidates, count);
}

// Budgets flow: the best of all heads' candidates, as many as the heads' quotas together, are counted per head in
// winners [n]; what is guaranteed to a head is among them. all [candidates of the unit] is scratch. Ties: newer, then
// the higher head.
SKV_INLINE void count_winners(const Selection* unit, int n, int budget, const PolicyPasses& policy, uint64_t* all,
                              int* winners) {
  int64_t total = 0, wanted = 0;
  uint64_t own[kMostHeads];  // the ranks from which on candidates are guaranteed
  for (int i = 0; i < n; i++) {
    const Selection& c = unit[i];
    winners[i] = policy.guaranteed ? guaranteed_of(policy.alpha, budget, c.live, c.candidates) : 0;
    wanted += quota_of(budget, c.live, c.candidates) - winners[i];
    own[i] = best_from(c, winners[i]);
    for (int k = 0; k < c.candidates; k++) {
      const uint64_t rank = c.rank[c.candidate[k]];
      if (rank < own[i]) all[total++] = rank;
    }
  }
  if (wanted <= 0) return;
  if (wanted >= total) {
    for (int i = 0; i < n; i++) winners[i] = unit[i].candidates;
    return;
  }
  const uint64_t border = border_of(all, total, wanted);
  int64_t given = 0;
  for (int i = 0; i < n; i++)
    for (int k = 0; k < unit[i].candidates; k++) {
      const uint64_t rank = unit[i].rank[unit[i].candidate[k]];
      const bool best = rank > border && rank < own[i];
      winners[i] += best;
      given += best;
    }
  for (int i = n - 1; i >= 0; i--)  // several heads may have a candidate at the border
    for (int k = 0; k < unit[i].candidates && given < wanted; k++)
      if (unit[i].rank[unit[i].candidate[k]] == border && border < own[i]) {
        winners[i]++;
        given++;
      }
}

// Marks the `count` best candidates as staying.
SKV_INLINE void keep_best(Selection* c, int count) {
  if (count >= c->candidates) {
    for (int i = 0; i < c->candidates; i++) c->stays[c->candidate[i]] = 1;
    return;
  }
  if (count <= 0) return;
  if (count == c->candidates - 1) {  // one leaves
    uint64_t least = ~0ull;
    for (int s = 0; s < c->live; s++) least = c->rank[s] < least ? c->rank[s] : least;
    for (int s = 0; s < c->live; s++) c->stays[s] = c->rank[s] != least;
    return;
  }
  for (int i = 0; i < c->candidates; i++) c->order[i] = c->rank[c->candidate[i]];
  const uint64_t border = border_of(c->order, c->candidates, count);
  for (int i = 0; i < c->candidates; i++) c->stays[c->candidate[i]] = c->rank[c->candidate[i]] >= border;
}

// Marks the candidates whose score is above the threshold.
SKV_INLINE void keep_above(Selection* c, float threshold) {
  for (int k = 0; k < c->candidates; k++) c->stays[c->candidate[k]] = c->score[c->candidate[k]] > threshold;
}

// Marks whole chunks of `size` positions by their mean score, best first, as long as the next one fits into `count`.
SKV_INLINE void keep_chunks(const AnyHead& h, Selection* c, int size, int count) {
  auto chunk_of = [&](int i) { return h.lane(c->candidate[i] / SKV_PAGE, 0)[c->candidate[i] % SKV_PAGE] / size; };
  int chunks = 0;
  for (int i = 0; i < c->candidates;) {
    int end = i;
    float sum = 0;
    while (end < c->candidates && chunk_of(end) == chunk_of(i)) sum += c->score[c->candidate[end++]];
    c->order[chunks++] = rank_of(sum / (float)(end - i), i);  // the low half is the chunk's first candidate
    i = end;
  }
  std::sort(c->order, c->order + chunks, [](uint64_t a, uint64_t b) { return a > b; });
  for (int k = 0; k < chunks; k++) {
    const int i0 = (int)(uint32_t)c->order[k];
    int i1 = i0;
    while (i1 < c->candidates && chunk_of(i1) == chunk_of(i0)) i1++;
    if (i1 - i0 > count) break;
    count -= i1 - i0;
    for (int i = i0; i < i1; i++) c->stays[c->candidate[i]] = 1;
  }
}

// Marks a head's slots that stay. winners: of the head, where budgets flow.
SKV_INLINE void keep_slots(const AnyHead& h, Selection* c, int budget, int winners, const PolicyPasses& policy) {
  int count = quota_of(budget, c->live, c->candidates);
  if (policy.heads == Heads::pooled && policy.keep == Keep::topK)
    count = policy.guaranteed ? winners : pooled_quota(policy.alpha, winners, count);
  if (policy.keep == Keep::above)
    keep_above(c, policy.threshold(h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS));
  else if (policy.keep == Keep::chunks && count < c->candidates)
    keep_chunks(h, c, policy.chunk, count);
  else
    keep_best(c, count);
}
