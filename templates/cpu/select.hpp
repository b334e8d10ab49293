// Select and compact: which slots of each KV head stay, and moving them down in place.
//
//   across -> score -> pool -> heads -> window -> keep -> move
//
// Slots are ranked by (score, position): the lowest leaves first, the older among equals, NaN before anything.
// Survivors move down in ascending order, each move read before the slot it frees is written; no page is needed. A
// policy whose slots need no order fills a single hole with the newest slot instead (replace.hpp).
#pragma once
#include "attend.hpp"
#include "replace.hpp"

// One head's slots while it is decided.
struct Choice {
  int live, candidates;  // slots, and those the window does not protect
  float* score;          // [live] rounded up to whole pages, like the next two
  uint64_t* rank;        // [live]
  uint8_t* stays;        // [live] 1: protected or chosen
  int* candidate;        // [candidates] slots that compete, in slot order
};

template <class P, class KV>
void score_head(const Head<KV>& h, Choice* c) {
  typename P::Across across;
  if constexpr (P::has_across) sized(h, [&](const Head<KV>& h) SKV_FLAT { gather_across<P>(h, &across); });
  c->live = *h.length;
  c->candidates = 0;
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  for (int p = 0; p * SKV_PAGE < c->live; p++) {
    const int slot0 = p * SKV_PAGE, slots = c->live - slot0 < SKV_PAGE ? c->live - slot0 : SKV_PAGE;
    score_page<P>(h, p, across, keys, values, c->score + slot0);
    protected_slots<P>(h, p, c->stays + slot0);
    for (int s = 0; s < slots; s++) {
      c->candidate[c->candidates] = slot0 + s;
      c->candidates += !c->stays[slot0 + s];
    }
  }
}

template <class P>
void pool_scores(Choice* c, float* pooled) {
  for (int i = 0; i < c->candidates; i++)
    pooled[i] = pooled_score<P>(i, c->candidates, [&](int k) SKV_FLAT { return c->score[c->candidate[k]]; });
  for (int i = 0; i < c->candidates; i++) c->score[c->candidate[i]] = pooled[i];
}

// Ranks of candidates; protected slots rank above all.
template <class KV>
SKV_INLINE void rank_slots(const Head<KV>& h, Choice* c) {
  for (int p = 0; p * SKV_PAGE < c->live; p++) {
    const int32_t* pos = h.lane(p, 0);
    for (int s = 0; s < SKV_PAGE; s++) {
      const int i = p * SKV_PAGE + s;
      const uint64_t rank = rank_of(c->score[i], pos[s]);
      c->rank[i] = c->stays[i] ? ~0ull : rank;
    }
  }
}

// Marks the `count` best candidates as staying. order [candidates] is scratch.
SKV_INLINE void keep_best(Choice* c, int count, uint64_t* order) {
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
  for (int i = 0; i < c->candidates; i++) order[i] = c->rank[c->candidate[i]];
  uint64_t* border = order + (c->candidates - count);
  std::nth_element(order, border, order + c->candidates);
  for (int i = 0; i < c->candidates; i++) c->stays[c->candidate[i]] = c->rank[c->candidate[i]] >= *border;
}

// Whole chunks of `size` positions by their mean score, best first, as long as the next one fits into `count`.
template <class KV>
void keep_chunks(const Head<KV>& h, Choice* c, int size, int count, uint64_t* order, float* means) {
  auto chunk_of = [&](int i) { return h.lane(c->candidate[i] / SKV_PAGE, 0)[c->candidate[i] % SKV_PAGE] / size; };
  int chunks = 0;
  for (int i = 0; i < c->candidates;) {
    int end = i;
    float sum = 0;
    while (end < c->candidates && chunk_of(end) == chunk_of(i)) sum += c->score[c->candidate[end++]];
    means[chunks] = sum / (float)(end - i);
    order[chunks] = rank_of(means[chunks], i);  // the low half is the chunk's first candidate
    chunks++;
    i = end;
  }
  std::sort(order, order + chunks, [](uint64_t a, uint64_t b) { return a > b; });
  for (int k = 0; k < chunks; k++) {
    const int i0 = (int)(uint32_t)order[k];
    int i1 = i0;
    while (i1 < c->candidates && chunk_of(i1) == chunk_of(i0)) i1++;
    if (i1 - i0 > count) break;
    count -= i1 - i0;
    for (int i = i0; i < i1; i++) c->stays[c->candidate[i]] = 1;
  }
}

// Moves survivors down and sets the length. sorted [live] is scratch for the positions that leave.
template <class P, class KV>
void move_survivors(const Head<KV>& h, const Choice& c, int32_t* sorted) {
  int leaving = 0;
  for (int s = 0; s < c.live; s++) leaving += !c.stays[s];
  if (leaving == 0) return;
  const int hole = int((const uint8_t*)memchr(c.stays, 0, c.live) - c.stays);
  if (P::shift_lane) {  // each survivor turns by the number of newer slots that leave
    for (int s = hole, i = 0; s < c.live; s++)
      if (!c.stays[s]) sorted[i++] = h.lane(s / SKV_PAGE, 0)[s % SKV_PAGE];
    std::sort(sorted, sorted + leaving);
    for (int s = 0; s < c.live; s++) {
      const int32_t pos = h.lane(s / SKV_PAGE, 0)[s % SKV_PAGE];
      h.lane(s / SKV_PAGE, P::shift_lane)[s % SKV_PAGE] +=
          leaving - int(std::upper_bound(sorted, sorted + leaving, pos) - sorted);
    }
  }
  if (!P::ordered && leaving == 1) {
    if (hole != c.live - 1) move_slot<P>(h, c.live - 1, hole);
  } else {
    int to = hole;
    for (int s = hole + 1; s < c.live; s++)
      if (c.stays[s]) move_slot<P>(h, s, to++);
  }
  *h.length = c.live - leaving;
}

// Most memory of one item: every head of a layer at full length.
SKV_INLINE int64_t select_scratch(const skv_shape* s) {
  return (int64_t)s->kv_heads * ((int64_t)s->max_slots * 40 + 1024) + 1024;
}

// One layer of one row, all its KV heads (heads that decide together must be scored before any chooses).
template <class P, class KV>
void compact_layer(const skv_step* step, const skv_row* row, int layer, int head0, int head1, Scratch scratch) {
  const int n = head1 - head0;
  const int budget = step->budgets[(int64_t)row->seq * step->shape->layers + layer];
  if constexpr (replaces<P>())  // nothing leaves, or attend has done it, or one slot leaves
    if (*Head<KV>(step, row, layer, head0).length <= budget + 1) return replace<P, KV>(step, row, layer, head0, head1);
  Choice choices[kMostHeads];
  uint64_t* order[kMostHeads];
  float* extra[kMostHeads];
  for (int i = 0; i < n; i++) {
    const Head<KV> h(step, row, layer, head0 + i);
    const int live = *h.length;
    Choice& c = choices[i];
    const int padded = pages_of(live) * SKV_PAGE;
    c.score = scratch.take<float>(padded), c.rank = scratch.take<uint64_t>(padded);
    c.stays = scratch.take<uint8_t>(padded), c.candidate = scratch.take<int>(padded);
    order[i] = scratch.take<uint64_t>(live), extra[i] = scratch.take<float>(live);
    score_head<P>(h, &c);
    if (P::pool != Pool::none) pool_scores<P>(&c, extra[i]);
  }
  if (P::heads == Heads::shared)
    for (int i = 0; i < choices[0].candidates; i++) {
      const int s = choices[0].candidate[i];
      float sum = choices[0].score[s];
      for (int k = 1; k < n; k++) sum += choices[k].score[s];
      for (int k = 0; k < n; k++) choices[k].score[s] = sum / (float)n;
    }
  for (int i = 0; i < n; i++) rank_slots(Head<KV>(step, row, layer, head0 + i), &choices[i]);

  int wins[kMostHeads];
  if (P::heads == Heads::pooled) {
    // budgets flow: the best H * c of all heads' candidates are counted per head; ties: newer, then the higher head
    int64_t total = 0, winners = 0;
    for (int i = 0; i < n; i++) {
      winners += quota_of(budget, choices[i].live, choices[i].candidates);
      total += choices[i].candidates;
    }
    uint64_t* all = scratch.take<uint64_t>(total);
    int64_t at = 0;
    for (int i = 0; i < n; i++)
      for (int k = 0; k < choices[i].candidates; k++) all[at++] = choices[i].rank[choices[i].candidate[k]];
    uint64_t border = 0;
    if (winners < total && winners > 0) {
      std::nth_element(all, all + (total - winners), all + total);
      border = all[total - winners];
    } else if (winners == 0) {
      border = ~0ull;
    }
    int64_t given = 0;
    for (int i = 0; i < n; i++) {
      wins[i] = 0;
      for (int k = 0; k < choices[i].candidates; k++)
        wins[i] += choices[i].rank[choices[i].candidate[k]] > border || border == 0;
      given += wins[i];
    }
    for (int i = n - 1; i >= 0 && border != 0 && border != ~0ull; i--)  // equal to the border in several heads
      for (int k = 0; k < choices[i].candidates && given < winners; k++)
        if (choices[i].rank[choices[i].candidate[k]] == border) wins[i]++, given++;
  }
  for (int i = 0; i < n; i++) {
    const Head<KV> h(step, row, layer, head0 + i);
    Choice& c = choices[i];
    int count = quota_of(budget, c.live, c.candidates);
    if (P::keep == Keep::all) count = c.candidates;
    if (P::heads == Heads::pooled && P::keep == Keep::topK)
      count = pooled_quota<P>(wins[i], count);
    if (P::keep == Keep::above) {
      const float threshold = P::threshold(step->params + (int64_t)row->seq * SKV_MAX_PARAMS);
      for (int k = 0; k < c.candidates; k++) c.stays[c.candidate[k]] = c.score[c.candidate[k]] > threshold;
    } else if (P::keep == Keep::chunks && count < c.candidates) {
      keep_chunks(h, &c, P::chunk, count, order[i], extra[i]);
    } else {
      keep_best(&c, count, order[i]);
    }
    move_survivors<P>(h, c, (int32_t*)extra[i]);
  }
}

template <class P, class KV>
int32_t compact(const skv_step* step, const skv_exec* exec) {
  if (P::keep == Keep::all) return 0;
  const int heads = step->shape->kv_heads, layers = step->shape->layers;
  if (heads > kMostHeads) return SKV_E_HEADS;
  const int together = P::heads == Heads::own ? 1 : heads, units = heads / together;
  each(exec, step->rows * layers * units, Deal::near, [&](int32_t item, int32_t worker) {
    const skv_row* row = step->row + item / (layers * units);
    if (row->policy != step->self || !row->compact) return;
    const int head0 = item % units * together;
    compact_layer<P, KV>(step, row, item / units % layers, head0, head0 + together, Scratch(exec, worker));
  });
  return 0;
}
