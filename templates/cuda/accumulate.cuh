// accumulate: what a generated token's attention does to the states of the slots it saw.
//
//   grid (slot tiles, kv_heads, rows), 256 threads; a slot has one thread, or sixteen where `next` reads vectors
//   logits [group][slot] of decode, lse [group], states [state][slot] -> states
//   bytes: 4 g + 8 a state for each slot, and d b for each vector (g heads of a group, d dims, b bytes of an element).
//   Bound by memory, and part of that is L2's: what decode wrote last comes first.
#pragma once
#include "decode.cuh"
#include "slot.cuh"

constexpr int kAccumulateThreads = 256;

template <class P>
SKV_BOTH constexpr int next_lanes() {
  return P::next_reads_key || P::next_reads_value ? kVecLanes : 1;
}

template <class P, class KV, int D>
__global__ void __launch_bounds__(kAccumulateThreads) accumulate_kernel(Step s, int max_rows) {
  constexpr int lanes = next_lanes<P>();
  // from the last row to the first
  const int r = gridDim.z - 1 - blockIdx.z, tile = gridDim.x - 1 - blockIdx.x;
  const skv_row row = load_row(s, r);
  if (row.policy != s.self || !is_decode(row) || row.observe1 <= row.observe0) return;
  const Head<KV, D> h(s, row, s.layer, gridDim.y - 1 - blockIdx.y);
  const int slot = (tile * kAccumulateThreads + threadIdx.x) / lanes;
  if (slot >= h.live) return;
  const StepScratch scratch(s, D, max_rows);
  const Params params(s.params + (int64_t)row.seq * SKV_MAX_PARAMS);
  const Global<uint32_t> page = h.page(slot / SKV_PAGE);
  const Global<const float> logits = global((const float*)s.logits), lse = global((const float*)s.lse);
  auto attn = [&](int v) -> float {
    return group_attn<P>(
        s.group, v, [&](int g) -> float { return logits[scratch.logit(r, h.head, g) + slot]; },
        [&](int g) -> float { return lse[h.query(0) + g]; });
  };
  const float first = attn(0);
  Vec key, value;
  if (P::next_reads_key) key = read_vec<KV, D>(page, 0, slot % SKV_PAGE);
  if (P::next_reads_value) value = read_vec<KV, D>(page, h.values, slot % SKV_PAGE);
  float states[P::states + 1];
  read_states<P>(h, page, slot % SKV_PAGE, states);
  advance<P>(
      h, page, slot % SKV_PAGE, row.pos0, h.live, [&](int v) -> float { return v ? attn(v) : first; }, &key, &value,
      params, states);
  if (lanes > 1) __syncwarp(vec_mask());  // all lanes have read
  if (lanes == 1 || vec_lane() == 0) write_states<P>(h, page, slot % SKV_PAGE, states);
}
