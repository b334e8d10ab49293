// probe: a policy's expressions alone, without pages or attention: the C++ rung of the ladder of oracles.
//
//   all arrays [slot], as skv_probe says; states [state][slot]
#pragma once
#include <vector>

#include "partitions.hpp"

SKV_INLINE Slot probe_slot(const skv_probe* p, int s, Vec* key, Vec* value) {
  if (p->keys) memcpy(key->at, p->keys + (int64_t)s * p->head_dim, p->head_dim * sizeof(float));
  if (p->values) memcpy(value->at, p->values + (int64_t)s * p->head_dim, p->head_dim * sizeof(float));
  Slot slot = {};
  slot.attn = p->attn ? p->attn[s] : 0;
  slot.pos = p->pos ? p->pos[s] : 0;
  slot.age = p->query_pos - slot.pos;
  slot.seen = p->seen ? p->seen[s] : 0;
  slot.live = (float)p->slots;
  slot.length = p->length;
  slot.layer = (float)p->layer;
  slot.layers = (float)p->layers;
  slot.head = (float)p->head;
  slot.heads = (float)p->heads;
  slot.random = random_of(p->seed_lo, p->seed_hi, p->layer, p->head, (int32_t)p->query_pos, (int32_t)slot.pos);
  set_classes(&slot, p->classes ? p->classes[s] : 0);
  slot.key = key;
  slot.value = value;
  slot.params = p->params;
  slot.dim = p->head_dim;
  return slot;
}

template <class P>
int32_t probe_next(const skv_probe* p) {
  for (int s = 0; s < p->slots; s++) {
    Vec key, value;
    float states[P::states + 1], after[P::states + 1];
    for (int i = 0; i < P::states; i++) states[i] = p->states[(int64_t)i * p->slots + s];
    P::next(probe_slot(p, s, &key, &value), states, after);
    for (int i = 0; i < P::states; i++) p->states[(int64_t)i * p->slots + s] = after[i];
  }
  return 0;
}

template <class P>
int32_t probe_score(const skv_probe* p) {
  Vec key, value;
  float states[P::states + 1];
  auto load = [&](int s) {
    for (int i = 0; i < P::states; i++) states[i] = p->states[(int64_t)i * p->slots + s];
    return probe_slot(p, s, &key, &value);
  };
  typename P::Across across;
  std::vector<uint32_t> ordered(P::ranked * p->slots);
  if constexpr (P::has_across)
    across = gather_across<P>(p->slots, p->head_dim, p->params, ordered.data(), [&](int page, int slots, auto put_of) {
      for (int s = 0; s < slots; s++) P::across_slot(load(page * SKV_PAGE + s), states, put_of(s));
    });
  if constexpr (P::partitioned) {
    std::vector<float> placed(P::places * p->slots);
    std::vector<uint64_t> order(p->slots);
    Runs<P> runs(p->slots, p->head_dim, across);
    runs.placed = placed.data();
    runs.order = order.data();
    runs.score([&](int s) { return P::partition((int)p->pos[s], p->params); },
               [&](int from, int end, bool, bool, auto visit) {
                 for (int s = from; s < end; s++) visit(s, load(s), states);
               },
               p->scores);
    return 0;
  }
  for (int s = 0; s < p->slots; s++) p->scores[s] = P::score(load(s), states, across);
  return 0;
}
