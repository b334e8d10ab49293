// select and compact: one block decides a unit, a KV head or, when heads decide together, all heads of a layer, and
// moves their survivors. Few blocks, as many as fill the device, take units in turn: each has scratch of its own.
//
//   grid (blocks), 256 threads
//   bytes: 4 + 4 states (+ d b per vector the score reads) per slot, 4 d b per slot that moves. Bound by memory; where
//   nothing leaves, by the latency of a look at the lengths: a block looks at 256 units at once.
#pragma once
#include "move.cuh"
#include "replace.cuh"

constexpr int kCompactBlocks = 288;                  // two a multiprocessor, on the largest device
constexpr int64_t kCompactBytes = (int64_t)64 << 20;  // of scratch, unless sixteen blocks need more

template <class P>
SKV_BOTH int64_t unit_words(int kv_heads, int max_slots) {
  return (P::heads == Heads::own ? 1 : kv_heads) * ChoiceLayout<P>::of(max_slots).words();
}

template <class P>
SKV_BOTH int compact_blocks(int kv_heads, int max_slots) {
  const int64_t fit = kCompactBytes / (unit_words<P>(kv_heads, max_slots) * 4);
  return fit < 16 ? 16 : fit > kCompactBlocks ? kCompactBlocks : (int)fit;
}

template <class P>
SKV_BOTH int compact_shared(int dim) {
  return across_shared<P>(dim) + BlockMemory::bytes + (3 * kMostHeads + kBlockThreads) * 4 + 128;
}

// One unit: heads [head0, head0 + n) of a layer of a row.
template <class P, class KV, int D>
struct Unit {
  const Step& s;
  const skv_row& row;
  int layer, head0, n;
  ChoiceLayout<P> layout;
  uint32_t* scratch;
  Shared<int> live, candidates, wins;  // [n]
  const BlockMemory& m;

  __device__ __forceinline__ Head<KV, D> head(int i) const { return Head<KV, D>(s, row, layer, head0 + i); }
  __device__ __forceinline__ Choice<P> choice(int i) const {
    Choice<P> c(layout, scratch + i * layout.words(), live[i]);
    c.candidates = candidates[i];
    return c;
  }

  // One set for the layer: every head's score becomes the mean.
  __device__ __forceinline__ void share_scores() const {
    const Choice<P> first = choice(0);
    for (int slot = threadIdx.x; slot < first.live; slot += kBlockThreads) {
      if (first.has(slot)) continue;
      float sum = first.score[slot];
      for (int i = 1; i < n; i++) sum += choice(i).score[slot];
      const float mean = sum / (float)n;
      for (int i = 0; i < n; i++) choice(i).score[slot] = mean;
    }
    __syncthreads();
  }

  // Budgets flow: the best of all heads' candidates, as many as the heads' budgets together, are counted per head.
  // Ties: newer, then the higher head.
  __device__ __forceinline__ void count_wins(int budget) const {
    int total = 0, winners = 0, most = 0;
    for (int i = 0; i < n; i++) {
      winners += quota_of(budget, live[i], candidates[i]);
      total += candidates[i];
      most = max(most, (int)live[i]);
    }
    const bool all = winners >= total, none = winners == 0;
    auto rank = [&](const Choice<P>& c, int i, int slot) { return rank_of(c.score[slot], lane_of(head(i), 0, slot)); };
    uint64_t border = 0;
    if (!all && !none)
      border = radix_border<true>(m, n * most, winners, [&](int k) -> Item {
        const Choice<P> c = choice(k / most);
        const int slot = k % most;
        if (slot >= c.live || c.has(slot)) return {false, 0, 0};
        return {true, rank(c, k / most, slot), 1};
      });
    int given = 0;
    for (int pass = 0; pass < 2; pass++)  // above the border; then equal to it, from the highest head down
      for (int k = 0; k < n; k++) {
        const int i = pass ? n - 1 - k : k;
        const Choice<P> c = choice(i);
        int mine = 0;
        for (int slot = threadIdx.x; slot < c.live; slot += kBlockThreads) {
          if (c.has(slot)) continue;
          const uint64_t r = rank(c, i, slot);
          mine += pass ? !all && !none && r == border : all || (!none && r > border);
        }
        int count = block_sum(m, mine);
        if (pass) count = smaller(count, winners - given);
        given += count;
        if (threadIdx.x == 0) wins[i] = pass ? wins[i] + count : count;
      }
    __syncthreads();
  }

  // Marks the candidates of head i that stay, then moves.
  __device__ __forceinline__ void keep(int i, int budget, uint64_t least) const {
    const Head<KV, D> h = head(i);
    const Choice<P> c = choice(i);
    int count = quota_of(budget, c.live, c.candidates);
    if (P::heads == Heads::pooled && P::keep == Keep::topK)
      count = pooled_quota<P>(wins[i], count);
    auto rank = [&](int slot) { return rank_of(c.score[slot], lane_of(h, 0, slot)); };
    if (P::keep == Keep::above) {
      const Params params(s.params + (int64_t)row.seq * SKV_MAX_PARAMS);
      const float threshold = P::threshold(params.at);
      keep_if(c, [&](int slot) { return (float)c.score[slot] > threshold; });
    } else if (count >= c.candidates) {
      return;  // all stay
    } else if (P::keep == Keep::chunks) {
      keep_chunks(h, c, count, m);
    } else if (count == c.candidates - 1) {  // one leaves
      if (P::pool != Pool::none || P::heads != Heads::own) {  // scores have changed since they were computed
        least = ~uint64_t{0};
        for (int slot = threadIdx.x; slot < c.live; slot += kBlockThreads)
          if (!c.has(slot)) least = min(least, rank(slot));
      }
      least = block_least(m, least);
      keep_if(c, [&](int slot) { return rank(slot) != least; });
    } else if (count > 0) {
      const uint64_t border = radix_border<true>(m, c.live, count, [&](int slot) -> Item {
        return {!c.has(slot), rank(slot), 1};
      });
      keep_if(c, [&](int slot) { return rank(slot) > border; });
    }
    move_survivors(h, c, m);
  }

  __device__ __forceinline__ void compact(Shared<float> tile, Shared<float> totals) const {
    uint64_t least = 0;
    for (int i = 0; i < n; i++) {
      const Head<KV, D> h = head(i);
      Choice<P> c(layout, scratch + i * layout.words(), h.live);
      least = score_head(h, &c, m, tile, totals);
      if (threadIdx.x == 0) live[i] = c.live, candidates[i] = c.candidates;
      if (P::pool != Pool::none) list_candidates(c, m), pool_scores(c);
    }
    __syncthreads();
    const int budget = global(s.budgets)[(int64_t)row.seq * s.layers + layer];
    if (P::heads == Heads::shared) share_scores();
    if (P::heads == Heads::pooled && P::keep == Keep::topK) count_wins(budget);
    for (int i = 0; i < n; i++) {
      keep(i, budget, least);
      __syncthreads();
    }
  }
};

// Whether a unit has slots that must leave, as far as lengths tell.
template <class P>
SKV_INLINE bool has_work(const Step& s, int item, int units, int together) {
  const skv_row row = load_row(s, item / (s.layers * units));
  if (row.policy != s.self || !row.compact) return false;
  if (P::keep != Keep::topK || P::heads == Heads::pooled) return true;
  const int64_t layer = (int64_t)row.seq * s.layers + item / units % s.layers;
  const int budget = global(s.budgets)[layer];
  bool over = false;
  for (int i = 0; i < together; i++)
    over |= global((const int32_t*)s.lengths)[layer * s.kv_heads + item % units * together + i] > budget;
  return over;
}

template <class P, class KV, int D>
__global__ void __launch_bounds__(kBlockThreads, 1) compact_kernel(Step s, uint32_t* scratch) {
  Arena arena;
  const BlockMemory m(arena);
  const int floats = statistic_at<P>(P::statistics, D);
  const Shared<float> tile = arena.take<float>(P::has_across ? SKV_PAGE * floats : 0, "across tile");
  const Shared<float> totals = arena.take<float>(P::has_across ? floats : 0, "across totals");
  const Shared<int> live = arena.take<int>(kMostHeads, "live"), candidates = arena.take<int>(kMostHeads, "candidates"),
                    wins = arena.take<int>(kMostHeads, "wins"), queue = arena.take<int>(kBlockThreads, "queue");
  const int together = P::heads == Heads::own ? 1 : s.kv_heads, units = s.kv_heads / together;
  const int items = s.rows * s.layers * units;
  uint32_t* mine = scratch + blockIdx.x * unit_words<P>(s.kv_heads, s.max_slots);
  SKV_LOOP for (int base = blockIdx.x; base < items; base += kBlockThreads * gridDim.x) {
    const int item = base + threadIdx.x * gridDim.x;
    const bool works = item < items && has_work<P>(s, item, units, together);
    int total;
    const int at = block_scan(m, works, &total);
    if (works) queue[at] = item;
    __syncthreads();
    SKV_LOOP for (int k = 0; k < total; k++) {
      const int next = queue[k];
      const skv_row row = load_row(s, next / (s.layers * units));
      const Unit<P, KV, D> unit = {s,    row,        next / units % s.layers, next % units * together, together,
                                   ChoiceLayout<P>::of(s.max_slots), mine, live, candidates, wins, m};
      unit.compact(tile, totals);
      __syncthreads();
    }
    __syncthreads();
  }
}
