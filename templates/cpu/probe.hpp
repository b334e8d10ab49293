// probe: a policy's expressions alone, without pages or attention: the C++ rung of the ladder of oracles. Compiled
// beside the passes from the same text, less optimised: only `skv test` calls it.
//
//   all arrays [slot], as skv_probe says; states [state][slot]
#pragma once
#include <vector>

#include "partitions.hpp"

// The vectors of slots from `slot0` on, of as many as a page has; null: there are none.
SKV_INLINE void probe_vecs(const skv_probe* p, const float* vectors, int slot0, PageVecs* out) {
  out->read(p->head_dim, [&](f32x16* at) SKV_FLAT {
    for (int d = 0; vectors && d < p->head_dim; d++)
      for (int s = 0; s < SKV_PAGE; s++)
        at[d][s] = slot0 + s < p->slots ? vectors[(int64_t)(slot0 + s) * p->head_dim + d] : 0;
  });
}

// The vectors of the page whose slot was asked for last.
struct ProbePage {
  int page = -1;
  PageVecs keys, values;
};

SKV_INLINE Slot probe_slot(const skv_probe* p, int s, ProbePage* vectors) {
  if (vectors->page != s / SKV_PAGE) {
    vectors->page = s / SKV_PAGE;
    probe_vecs(p, p->keys, vectors->page * SKV_PAGE, &vectors->keys);
    probe_vecs(p, p->values, vectors->page * SKV_PAGE, &vectors->values);
  }
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
  slot.key = {&vectors->keys, s % SKV_PAGE, false};
  slot.value = {&vectors->values, s % SKV_PAGE, false};
  slot.params = p->params;
  slot.dim = p->head_dim;
  return slot;
}

template <class P>
int32_t probe_next(const skv_probe* p) {
  ProbePage vectors;
  for (int s = 0; s < p->slots; s++) {
    float states[P::states + 1], after[P::states + 1];
    for (int i = 0; i < P::states; i++) states[i] = p->states[(int64_t)i * p->slots + s];
    const Slot slot = probe_slot(p, s, &vectors);
    P::next(slot, states, after);
    if constexpr (P::begins) P::begin(slot, after);  // what it was, since it reads nothing that changes
    for (int i = 0; i < P::states; i++) p->states[(int64_t)i * p->slots + s] = after[i];
  }
  return 0;
}

template <class P>
int32_t probe_score(const skv_probe* p) {
  ProbePage vectors;
  float states[P::states + 1];
  auto load = [&](int s) {
    for (int i = 0; i < P::states; i++) states[i] = p->states[(int64_t)i * p->slots + s];
    return probe_slot(p, s, &vectors);
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
