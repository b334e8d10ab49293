// Replace in place: exactly one slot leaves and the newest takes its hole, as `every(1)` does at its budget. One pass
// over the scores and one move; nothing else of the head is touched. Chosen when a policy's slots need no order and its
// heads decide alone; the general way (select.hpp) leaves the same slots.
#pragma once
#include <algorithm>

#include "score.hpp"

template <class P, class KV>
SKV_INLINE void move_slot(const Head<KV>& h, int from, int to) {
  const int pf = from / SKV_PAGE, sf = from % SKV_PAGE, pt = to / SKV_PAGE, st = to % SKV_PAGE;
  auto *key = h.keys(pt), *value = h.values(pt), *old_key = h.keys(pf), *old_value = h.values(pf);
  for (int d = 0; d < h.dim; d++) *KV::key_at(key, d, st) = *KV::key_at(old_key, d, sf);
  for (int d = 0; d < h.dim; d++) *KV::value_at(value, d, st, h.dim) = *KV::value_at(old_value, d, sf, h.dim);
  for (int i = 0; i < P::lanes; i++) h.lane(pt, i)[st] = h.lane(pf, i)[sf];
}

// Whether the lowest candidate alone is what selection would look for.
template <class P>
constexpr bool kReplaces = !P::ordered && P::keep == Keep::topK && P::heads == Heads::own && P::pool == Pool::none;

// The lowest-ranked candidate of a head with one slot more than its budget leaves, if there is a candidate.
template <class P, class KV>
void replace_one(const Head<KV>& h) {
  const int live = *h.length;
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  uint64_t least[SKV_PAGE];
  for (uint64_t& lane : least) lane = ~0ull;
  for (int p = 0; p < 8; p++) call_lanes<P>(h, p);
  for (int p = 0; p * SKV_PAGE < live; p++) {
    float score[SKV_PAGE];
    uint8_t kept[SKV_PAGE];
    score_page<P>(h, p, {}, keys, values, score);
    mark_window<P>(h, p, kept);
    for (int s = live - p * SKV_PAGE; s < SKV_PAGE; s++) kept[s] = 1;
    const int32_t* pos = h.lane(p, 0);
    for (int s = 0; s < SKV_PAGE; s++) {
      const uint64_t rank = kept[s] ? ~0ull : rank_of(score[s], pos[s]);
      least[s] = rank < least[s] ? rank : least[s];
    }
  }
  const uint64_t lowest = *std::min_element(least, least + SKV_PAGE);
  if (lowest == ~0ull) return;
  const int32_t gone = (int32_t)(uint32_t)lowest;
  int hole = 0;
  for (int p = 0; p * SKV_PAGE < live; p++) {
    const int32_t* pos = h.lane(p, 0);
    for (int s = 0; s < SKV_PAGE && p * SKV_PAGE + s < live; s++) hole = pos[s] == gone ? p * SKV_PAGE + s : hole;
    for (int s = 0; P::shift_lane && s < SKV_PAGE; s++) h.lane(p, P::shift_lane)[s] += pos[s] < gone;
  }
  if (hole != live - 1) move_slot<P>(h, live - 1, hole);
  *h.length = live - 1;
}
