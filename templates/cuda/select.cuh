// Which slots of each KV head stay: across -> score -> pool -> heads -> window -> keep, by one block of 256 threads.
// What it means stands in shared/select.hpp.
//
//   a head's lanes -> score [slot] f32, flags: a bit a slot, protected or chosen; both in the block's scratch
//   bytes: 4 a slot written and read once a radix pass, all in L2, beside what score.cuh reads. Bound by the passes: at
//   most eight over the slots, three barriers each.
#pragma once
#include "block.cuh"
#include "score.cuh"

// One head's part of the block's scratch, in words. Flags: one bit a slot, 32 slots a word.
template <class P>
struct SelectionLayout {
  static constexpr bool lists = P::pool != Pool::none || P::keep == Keep::chunks || P::shift_lane;
  int padded;  // slots
  SKV_BOTH SelectionLayout of(int max_slots) { return {ceil_div(max_slots, kBlockThreads) * kBlockThreads}; }
  // Scores, flags, lists, and the rows of places.
  __device__ __host__ __forceinline__ int64_t words() const { return places_at() + place_rows<P>() * padded; }
  __device__ __host__ __forceinline__ int64_t places_at() const {
    return padded + padded / 32 + (lists ? 2 * padded : 0);
  }
};

template <class P>
struct Selection {
  int live, candidates;    // slots, and those the window does not protect
  Global<float> score;     // [live]
  Global<int32_t> holes;   // [leaving] once scores have been used, in their place
  Global<uint32_t> flags;  // [live / 32] protected, later also chosen
  Global<int32_t> list;    // [candidates] their slots, in slot order; or the positions of slots that leave
  Global<float> extra;     // [candidates]
  Global<float> placed;    // [place_rows][stride]
  int stride;

  __device__ __forceinline__ Selection(const SelectionLayout<P>& layout, uint32_t* scratch, int live)
      : live(live), candidates(0), stride(layout.padded) {
    score = global((float*)scratch);
    holes = global((int32_t*)scratch);
    placed = global((float*)scratch) + layout.places_at();
    flags = global(scratch) + layout.padded;
    if (SelectionLayout<P>::lists) {
      list = global((int32_t*)scratch) + (layout.padded + layout.padded / 32);
      extra = global((float*)scratch) + (2 * layout.padded + layout.padded / 32);
    }
  }
  __device__ __forceinline__ bool stays(int slot) const { return (uint32_t)flags[slot / 32] >> (slot % 32) & 1; }
};

// Scores, window and number of candidates of one head. Returns the least rank this thread saw.
template <class P, class KV, int D>
SKV_INLINE uint64_t score_head(const Head<KV, D>& h, Selection<P>* c, const BlockMemory& m, Shared<float> tile,
                               Shared<float> totals) {
  // a vector among the statistics has sixteen lanes too
  constexpr bool wide = P::score_reads_key || P::score_reads_value || P::has_vector || P::partitioned;
  const Params params(h.s.params + (int64_t)h.row.seq * SKV_MAX_PARAMS);
  if (P::has_across) gather_across<P>(h, tile, totals, c->score, m, params);
  const typename P::Across across = P::across_of(Totals<P>{totals, D});
  if constexpr (P::partitioned) {
    score_runs<P>(h, tile, totals, c->placed, c->stride, across, params, c->score);
  } else if (wide) {
    for (int slot = threadIdx.x / kVecLanes; slot < h.live; slot += kBlockThreads / kVecLanes) {
      if (P::score_reads_key) prefetch_vec(h, 0, slot + kPrefetchSlots);
      if (P::score_reads_value) prefetch_vec(h, h.values, slot + kPrefetchSlots);
      const float score = score_slot<P>(h, slot, across, params);
      if (vec_lane() == 0) c->score[slot] = score;
    }
    __syncthreads();
  }
  uint64_t least = ~(uint64_t)0;
  int staying = 0;
  for (int base = 0; base < h.live; base += kBlockThreads) {
    const int slot = base + threadIdx.x;
    bool stays = false;
    if (slot < h.live) {
      const int32_t pos = lane_of(h, 0, slot);
      float score;
      if (wide)
        score = c->score[slot];
      else
        c->score[slot] = score = score_slot<P>(h, slot, across, params);
      stays = is_protected<P>(h, slot, pos);
      const uint64_t rank = rank_of(score, pos);
      if (!stays && rank < least) least = rank;
    }
    const uint32_t word = __ballot_sync(kFull, stays);
    if (threadIdx.x % 32 == 0) c->flags[slot / 32] = word;
    staying += stays;
  }
  c->candidates = h.live - block_sum(m, staying);  // and a barrier: scores and flags are there
  return least;
}

// The candidates' slots, in order.
template <class P>
SKV_INLINE void list_candidates(const Selection<P>& c, const BlockMemory& m) {
  int before = 0;
  for (int base = 0; base < c.live; base += kBlockThreads) {
    const int slot = base + threadIdx.x;
    const bool competes = slot < c.live && !c.stays(slot);
    int total;
    const int at = before + block_scan(m, competes, &total);
    if (competes) c.list[at] = slot;
    before += total;
  }
  __syncthreads();
}

template <class P>
SKV_INLINE void pool_scores(const Selection<P>& c) {
  for (int i = threadIdx.x; i < c.candidates; i += kBlockThreads)
    c.extra[i] = pooled_score<P>(i, c.candidates, [&](int k) -> float { return c.score[(int)c.list[k]]; });
  __syncthreads();
  for (int i = threadIdx.x; i < c.candidates; i += kBlockThreads) c.score[(int)c.list[i]] = (float)c.extra[i];
  __syncthreads();
}

// Flags the slots for which chosen(slot) holds; those that have a flag keep it if kAdds.
template <bool kAdds, class P, class Chosen>
SKV_INLINE void flag_if(const Selection<P>& c, Chosen chosen) {
  for (int base = 0; base < c.live; base += kBlockThreads) {
    const int slot = base + threadIdx.x;
    const bool stays = slot < c.live && ((kAdds && c.stays(slot)) || chosen(slot));
    const uint32_t word = __ballot_sync(kFull, stays);
    __syncwarp();  // a vote orders no memory: all lanes have read the word
    if (threadIdx.x % 32 == 0) c.flags[slot / 32] = word;
  }
  __syncthreads();
}

// Adds to the flags the candidates for which chosen(slot) holds.
template <class P, class Chosen>
SKV_INLINE void keep_if(const Selection<P>& c, Chosen chosen) {
  flag_if<true>(c, chosen);
}

// Whole chunks of `P::chunk` positions by their mean score, best first, as long as the next one fits into `count`.
template <class P, class KV, int D>
SKV_INLINE void keep_chunks(const Head<KV, D>& h, const Selection<P>& c, int count, const BlockMemory& m) {
  list_candidates(c, m);
  auto chunk_of = [&](int i) { return lane_of(h, 0, c.list[i]) / P::chunk; };
  auto begins = [&](int i) { return i == 0 || chunk_of(i - 1) != chunk_of(i); };
  auto length = [&](int i) {
    int n = 1;
    while (i + n < c.candidates && chunk_of(i + n) == chunk_of(i)) n++;
    return n;
  };
  for (int i = threadIdx.x; i < c.candidates; i += kBlockThreads) {
    if (!begins(i)) continue;
    const int n = length(i);
    float sum = 0;
    for (int k = 0; k < n; k++) sum += c.score[(int)c.list[i + k]];
    c.extra[i] = sum / (float)n;
  }
  __syncthreads();
  const uint64_t border = radix_border<false>(m, c.candidates, count, [&](int i) -> Item {
    if (!begins(i)) return {false, 0, 0};
    return {true, rank_of(c.extra[i], i), length(i)};
  });
  // a chunk's scores are done with: 1 where it stays
  for (int i = threadIdx.x; i < c.candidates; i += kBlockThreads) {
    if (!begins(i)) continue;
    const float stays = rank_of(c.extra[i], i) > border ? 1.0f : 0.0f;
    for (int k = 0, n = length(i); k < n; k++) c.score[(int)c.list[i + k]] = stays;
  }
  __syncthreads();
  keep_if(c, [&](int slot) { return (float)c.score[slot] == 1.0f; });
}
