// Scores of slots, and which of them the window protects: one thread a slot, or sixteen lanes where the score reads
// vectors.
//
//   a slot's lanes (keys, values [slot][dim] where the score reads them) -> score f32
//   bytes: 4 + 4 a state per slot, d b for each vector the score reads. Bound by memory.
#pragma once
#include "partitions.cuh"
#include "shared/select.hpp"

constexpr int kPrefetchSlots = 4 * SKV_PAGE;  // how far ahead vectors are prefetched: a block reads a page at a time

template <class KV, int D>
SKV_INLINE int32_t lane_of(const Head<KV, D>& h, int lane, int slot) {
  return (int32_t)(uint32_t)h.page(slot / SKV_PAGE)[h.lanes + lane * SKV_PAGE + slot % SKV_PAGE];
}

template <class P, class KV, int D>
SKV_INLINE bool is_protected(const Head<KV, D>& h, int slot, int32_t pos) {
  return is_protected<P>(window_of(h.row), pos, P::window_classes ? lane_of(h, P::class_lane, slot) : 0);
}

// A slot's score from its page; sixteen lanes take part when the score reads vectors.
template <class P, class KV, int D>
SKV_INLINE float score_slot(const Head<KV, D>& h, int slot, const typename P::Across& across, const Params& params) {
  const Global<const uint32_t> page = h.page(slot / SKV_PAGE);
  const int at = slot % SKV_PAGE;
  Vec key, value;
  if (P::score_reads_key) key = read_vec<KV, D>(page, 0, at);
  if (P::score_reads_value) value = read_vec<KV, D>(page, h.values, at);
  float states[P::states + 1];
  read_states<P>(h, page, at, states);
  const int32_t query = h.row.pos0 + h.row.tokens - 1;
  return P::score(slot_at<P>(h, page, at, query, h.live, 0, &key, &value, params), states, across);
}

// The statistics of a head's live slots. values [live] is scratch. All threads of a block of 256 come here.
template <class P, class KV, int D>
SKV_INLINE void gather_across(const Head<KV, D>& h, Shared<float> tile, Shared<float> totals, Global<float> values,
                              const BlockMemory& m, const Params& params) {
  auto each = [&](int slot, const Put<P>& put) {
    const Global<const uint32_t> page = h.page(slot / SKV_PAGE);
    if (P::across_reads_key) prefetch_vec(h, 0, slot + kPrefetchSlots);
    if (P::across_reads_value) prefetch_vec(h, h.values, slot + kPrefetchSlots);
    Vec key, value;
    if (P::across_reads_key) key = read_vec<KV, D>(page, 0, slot % SKV_PAGE);
    if (P::across_reads_value) value = read_vec<KV, D>(page, h.values, slot % SKV_PAGE);
    float states[P::states + 1];
    read_states<P>(h, page, slot % SKV_PAGE, states);
    const int32_t query = h.row.pos0 + h.row.tokens - 1;
    P::across_slot(slot_at<P>(h, page, slot % SKV_PAGE, query, h.live, 0, &key, &value, params), states, put);
  };
  if constexpr (P::ranked < P::statistics) gather_across<P, true>(0, h.live, D, tile, totals, each);
  if constexpr (P::ranked > 0) gather_ranked<P>(h.live, D, tile, totals, values, m, params.at, each);
}

// Scores of a head's slots where statistics are of partitions. All threads of a block of 256 come here.
template <class P, class KV, int D>
SKV_INLINE void score_runs(const Head<KV, D>& h, Shared<float> tile, Shared<float> totals, Global<float> placed,
                           int stride, const typename P::Across& across, const Params& params, Global<float> score) {
  auto each = [&](int slot, auto reads, auto visit) {
    using Of = decltype(reads);
    const Global<const uint32_t> page = h.page(slot / SKV_PAGE);
    const int at = slot % SKV_PAGE;
    if (Of::key) prefetch_vec(h, 0, slot + kPrefetchSlots);
    if (Of::value) prefetch_vec(h, h.values, slot + kPrefetchSlots);
    Vec key, value;
    if (Of::key) key = read_vec<KV, D>(page, 0, at);
    if (Of::value) value = read_vec<KV, D>(page, h.values, at);
    float states[P::states + 1];
    read_states<P>(h, page, at, states);
    const int32_t query = h.row.pos0 + h.row.tokens - 1;
    visit(slot_at<P>(h, page, at, query, h.live, 0, &key, &value, params), states);
  };
  score_runs<P>(
      h.live, D, tile, totals, Places<P, Global<float>>{placed, stride}, across,
      [&](int slot) { return P::partition(lane_of(h, 0, slot), params.at); }, each,
      [&](int slot, float value) { score[slot] = value; });
}
