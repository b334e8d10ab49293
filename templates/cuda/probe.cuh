// probe: a policy's expressions alone, without pages: the CUDA rung of the ladder of oracles, and never part of a step.
//
//   probe_next   grid (slots / 16), 256 threads: sixteen lanes a slot; states [state][slot] -> states
//   probe_score  one block of 256 threads; a slot's fields [slot], keys and values [slot][dim] -> scores [slot]
//   Bound by the launch: it waits for the device.
#pragma once
#include "partitions.cuh"

SKV_INLINE Vec probe_vec(const float* from, int64_t slot, int dim) {
  Vec out;
  if (from) SKV_ELEMENTS(dim) out.at[i] = global(from)[slot * dim + i * kVecLanes + vec_lane()];
  return out;
}

SKV_INLINE Slot probe_slot(const skv_probe& p, int s, const Vec* key, const Vec* value, const Params& params) {
  Slot slot = {};
  slot.attn = p.attn ? (float)global(p.attn)[s] : 0.0f;
  slot.pos = p.pos ? (float)global(p.pos)[s] : 0.0f;
  slot.age = p.query_pos - slot.pos;
  slot.seen = p.seen ? (float)global(p.seen)[s] : 0.0f;
  slot.live = (float)p.slots;
  slot.length = p.length;
  slot.layer = (float)p.layer;
  slot.layers = (float)p.layers;
  slot.head = (float)p.head;
  slot.heads = (float)p.heads;
  slot.random = random_of(p.seed_lo, p.seed_hi, p.layer, p.head, (int32_t)p.query_pos, (int32_t)slot.pos);
  set_classes(&slot, p.classes ? (int32_t)global(p.classes)[s] : 0);
  slot.key = key;
  slot.value = value;
  slot.params = params.at;
  slot.dim = p.head_dim;
  return slot;
}

template <class P>
SKV_INLINE void probe_states(const skv_probe& p, int s, float* states) {
  SKV_UNROLL for (int i = 0; i < P::states; i++) states[i] = global(p.states)[(int64_t)i * p.slots + s];
}

template <class P>
__global__ void __launch_bounds__(kAcrossThreads) probe_next_kernel(skv_probe p) {
  const int s = (blockIdx.x * kAcrossThreads + threadIdx.x) / kVecLanes;
  if (s >= p.slots) return;
  const Params params(p.params);
  const Vec key = probe_vec(p.keys, s, p.head_dim), value = probe_vec(p.values, s, p.head_dim);
  float states[P::states + 1], after[P::states + 1];
  probe_states<P>(p, s, states);
  const Slot slot = probe_slot(p, s, &key, &value, params);
  P::next(slot, states, after);
  if constexpr (P::begins) P::begin(slot, after);  // what it was, since it reads nothing that changes
  __syncwarp(vec_mask());  // all lanes have read
  if (vec_lane() == 0)
    SKV_UNROLL for (int i = 0; i < P::states; i++) global(p.states)[(int64_t)i * p.slots + s] = after[i];
}

template <class P>
__global__ void __launch_bounds__(kAcrossThreads) probe_score_kernel(skv_probe p) {
  Arena arena;
  const int floats = statistic_at<P>(P::statistics, p.head_dim);
  const Shared<float> tile = arena.take<float>(SKV_PAGE * floats, "across tile");
  const Shared<float> totals = arena.take<float>(floats, "across totals");
  const Params params(p.params);
  auto each = [&](int s, const Put<P>& put) {
    const Vec key = probe_vec(p.keys, s, p.head_dim), value = probe_vec(p.values, s, p.head_dim);
    float states[P::states + 1];
    probe_states<P>(p, s, states);
    P::across_slot(probe_slot(p, s, &key, &value, params), states, put);
  };
  if constexpr (P::ranked < P::statistics) gather_across<P, true>(0, p.slots, p.head_dim, tile, totals, each);
  if constexpr (P::ranked > 0) {
    const BlockMemory block(arena);
    gather_ranked<P>(p.slots, p.head_dim, tile, totals, global(p.scores), block, params.at, each);
  }
  const typename P::Across across = P::across_of(Totals<P>{totals, p.head_dim});
  if constexpr (P::partitioned) {
    const Shared<float> placed = arena.take<float>(place_rows<P>() * p.slots, "places");
    score_runs<P>(
        p.slots, p.head_dim, tile, totals, Places<P, Shared<float>>{placed, p.slots}, across,
        [&](int s) { return P::partition((int)(float)global(p.pos)[s], params.at); },
        [&](int s, auto, auto visit) {
          const Vec key = probe_vec(p.keys, s, p.head_dim), value = probe_vec(p.values, s, p.head_dim);
          float states[P::states + 1];
          probe_states<P>(p, s, states);
          visit(probe_slot(p, s, &key, &value, params), states);
        },
        [&](int s, float score) { global(p.scores)[s] = score; });
    return;
  }
  for (int s = threadIdx.x / kVecLanes; s < p.slots; s += kAcrossThreads / kVecLanes) {
    const Vec key = probe_vec(p.keys, s, p.head_dim), value = probe_vec(p.values, s, p.head_dim);
    float states[P::states + 1];
    probe_states<P>(p, s, states);
    const float score = P::score(probe_slot(p, s, &key, &value, params), states, across);
    if (vec_lane() == 0) global(p.scores)[s] = score;
  }
}

static inline void expose_probe(const skv_probe* p, int states) {
  const int64_t n = p->slots, floats = n * p->head_dim;
  expose(p->params, SKV_MAX_PARAMS * 4, "params");
  expose(p->pos, n * 4, "pos");
  expose(p->seen, n * 4, "seen");
  expose(p->attn, n * 4, "attn");
  expose(p->classes, n * 4, "classes");
  expose(p->keys, floats * 4, "keys");
  expose(p->values, floats * 4, "values");
  expose(p->states, n * states * 4, "states");
  expose(p->scores, n * 4, "scores");
}

template <class P>
int32_t probe_next(const skv_probe* p) {
  expose_probe(p, P::states);
  const int32_t code = SKV_LAUNCH((probe_next_kernel<P>), dim3(ceil_div(p->slots * kVecLanes, kAcrossThreads)),
                                  kAcrossThreads, 0, nullptr, *p);
  return code ? code : wait_device();
}

template <class P>
SKV_BOTH int probe_shared(int dim, int slots) {
  const int places = P::places > 0 ? place_rows<P>() * slots * 4 + 16 : 0;
  return across_shared<P>(dim) + (P::ranked > 0 ? BlockMemory::bytes + 64 : 0) + places;
}

template <class P>
int32_t probe_score(const skv_probe* p) {
  expose_probe(p, P::states);
  const int32_t code = SKV_LAUNCH((probe_score_kernel<P>), dim3(1), kAcrossThreads, probe_shared<P>(p->head_dim, p->slots),
                                  nullptr, *p);
  return code ? code : wait_device();
}
