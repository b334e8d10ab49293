// compact: one block selects what stays in a unit, a KV head or, where heads decide together, all heads of a layer, and
// moves the survivors down. Few blocks, as many as fill the device, take units in turn: each has scratch of its own.
//
//   grid (blocks), 256 threads
//   a unit's pages, budgets [seq][layer] -> its pages, lengths [seq][layer][kv_head]; scratch [block][head][words]
//   bytes: 4 + 4 a state per slot, d b for each vector the score reads, 4 d b per slot that moves (d dims, b bytes of
//   an element). Bound by memory; where nothing leaves, by the latency of a look at the lengths: a block looks at 256
//   units at once.
#pragma once
#include "move.cuh"
#include "profile.cuh"
#include "replace.cuh"

constexpr int kCompactBlocks = 288;                   // two a multiprocessor, on the largest device
constexpr int64_t kCompactBytes = (int64_t)64 << 20;  // of scratch, unless sixteen blocks need more

template <class P>
SKV_BOTH int64_t unit_words(int kv_heads, int max_slots) {
  return (P::heads == Heads::own ? 1 : kv_heads) * SelectionLayout<P>::of(max_slots).words();
}

template <class P>
SKV_BOTH int compact_blocks(int kv_heads, int max_slots) {
  const int64_t fit = kCompactBytes / (unit_words<P>(kv_heads, max_slots) * 4);
  return fit < 16 ? 16 : fit > kCompactBlocks ? kCompactBlocks : (int)fit;
}

template <class P>
SKV_BOTH int compact_shared(int dim) {
  return across_shared<P>(dim) + BlockMemory::bytes + ((P::guaranteed ? 5 : 3) * kMostHeads + kBlockThreads) * 4 + 128;
}

// What a block has for the unit at hand, one after the other.
template <class P, int D>
struct CompactMemory {
  const BlockMemory block;
  Shared<float> tile, totals;             // across.cuh
  Shared<int> live, candidates, winners;  // [head of the unit]
  Shared<uint32_t> own;                   // [head of the unit][2] ranks above which candidates are guaranteed
  Shared<int> queue;                      // [kBlockThreads] units that have work
  SelectionLayout<P> layout;
  uint32_t* scratch;  // [head of the unit][layout.words()]
  __device__ __forceinline__ CompactMemory(Arena& arena, const Step& s, uint32_t* scratch0) : block(arena) {
    const int floats = P::has_across || P::partitioned ? statistic_at<P>(P::statistics, D) : 0;
    tile = arena.take<float>(SKV_PAGE * floats, "across tile");
    totals = arena.take<float>(floats, "across totals");
    live = arena.take<int>(kMostHeads, "live");
    candidates = arena.take<int>(kMostHeads, "candidates");
    winners = arena.take<int>(kMostHeads, "winners");
    if (P::guaranteed) own = arena.take<uint32_t>(2 * kMostHeads, "own");
    queue = arena.take<int>(kBlockThreads, "queue");
    layout = SelectionLayout<P>::of(s.max_slots);
    scratch = scratch0 + blockIdx.x * unit_words<P>(s.kv_heads, s.max_slots);
  }
};

// One unit: heads [head0, head0 + n) of a layer of a row.
template <class P, class KV, int D>
struct Unit {
  const CompactMemory<P, D>& m;
  const Step& s;
  const skv_row& row;
  int layer, head0, n;

  // item: of the step's units, by row, layer and first head.
  __device__ __forceinline__ Unit(const CompactMemory<P, D>& m, const Step& s, const skv_row& row, int item)
      : m(m), s(s), row(row), n(P::heads == Heads::own ? 1 : s.kv_heads) {
    const int units = s.kv_heads / n;
    layer = item / units % s.layers;
    head0 = item % units * n;
  }
  __device__ __forceinline__ Head<KV, D> head(int i) const { return Head<KV, D>(s, row, layer, head0 + i); }
  __device__ __forceinline__ Selection<P> selection(int i) const {
    Selection<P> c(m.layout, m.scratch + i * m.layout.words(), m.live[i]);
    c.candidates = m.candidates[i];
    return c;
  }

  // One set for the layer: every head's score becomes the mean.
  __device__ __forceinline__ void mean_scores() const {
    const Selection<P> first = selection(0);
    for (int slot = threadIdx.x; slot < first.live; slot += kBlockThreads) {
      if (first.stays(slot)) continue;
      float sum = first.score[slot];
      for (int i = 1; i < n; i++) sum += selection(i).score[slot];
      const float mean = sum / (float)n;
      for (int i = 0; i < n; i++) selection(i).score[slot] = mean;
    }
    __syncthreads();
  }

  // What is guaranteed to head i: how many of its candidates, and in m.own above which rank they are.
  __device__ __forceinline__ int set_own(int budget, int i) const {
    const Selection<P> c = selection(i);
    const int own = guaranteed_of(P::alpha, budget, c.live, c.candidates);
    uint64_t border = ~uint64_t{0};
    if (own > 0 && own < c.candidates)
      border = radix_border<true>(m.block, c.live, own, [&](int slot) -> Item {
        return {!c.stays(slot), rank_of(c.score[slot], lane_of(head(i), 0, slot)), 1};
      });
    if (threadIdx.x == 0) {
      m.own[2 * i] = (uint32_t)border;
      m.own[2 * i + 1] = (uint32_t)(border >> 32);
    }
    __syncthreads();
    return own;
  }

  // Budgets flow: the best of all heads' candidates, as many as the heads' quotas together, are counted per head; what
  // is guaranteed to a head is among them. Ties: newer, then the higher head.
  __device__ __forceinline__ void count_winners(int budget) const {
    int total = 0, wanted = 0, most = 0;
    for (int i = 0; i < n; i++) {
      const int own = P::guaranteed ? set_own(budget, i) : 0;
      wanted += quota_of(budget, m.live[i], m.candidates[i]) - own;
      total += m.candidates[i] - own;
      most = max(most, (int)m.live[i]);
    }
    const bool all = wanted >= total, none = wanted <= 0;
    auto rank = [&](const Selection<P>& c, int i, int slot) {
      return rank_of(c.score[slot], lane_of(head(i), 0, slot));
    };
    // whether a slot competes with those of other heads
    auto competes = [&](const Selection<P>& c, int i, int slot) {
      if (c.stays(slot)) return false;
      if (!P::guaranteed) return true;
      if (guaranteed_of(P::alpha, budget, c.live, c.candidates) == c.candidates) return false;
      return rank(c, i, slot) <= ((uint64_t)(uint32_t)m.own[2 * i + 1] << 32 | (uint32_t)m.own[2 * i]);
    };
    uint64_t border = 0;
    if (!all && !none)
      border = radix_border<true>(m.block, n * most, wanted, [&](int k) -> Item {
        const Selection<P> c = selection(k / most);
        const int slot = k % most;
        if (slot >= c.live || !competes(c, k / most, slot)) return {false, 0, 0};
        return {true, rank(c, k / most, slot), 1};
      });
    int given = 0;
    for (int pass = 0; pass < 2; pass++)  // above the border; then equal to it, from the highest head down
      for (int k = 0; k < n; k++) {
        const int i = pass ? n - 1 - k : k;
        const Selection<P> c = selection(i);
        int mine = 0;
        for (int slot = threadIdx.x; slot < c.live; slot += kBlockThreads) {
          if (!competes(c, i, slot)) continue;
          const uint64_t r = rank(c, i, slot);
          mine += pass ? !all && !none && r == border : all || (!none && r > border);
        }
        int count = block_sum(m.block, mine);
        if (pass) count = smaller(count, wanted - given);
        given += count;
        if (!pass && P::guaranteed) count += guaranteed_of(P::alpha, budget, c.live, c.candidates);
        if (threadIdx.x == 0) m.winners[i] = pass ? m.winners[i] + count : count;
      }
    __syncthreads();
  }

  // Marks the candidates of head i that stay, then moves. least: the least rank that this thread saw.
  __device__ __forceinline__ void keep(int i, int budget, uint64_t least) const {
    const Head<KV, D> h = head(i);
    const Selection<P> c = selection(i);
    if constexpr (P::keep == Keep::profile) {
      keep_profile(h, c, m.block);
      return move_survivors(h, c, m.block);
    }
    int count = quota_of(budget, c.live, c.candidates);
    if (P::heads == Heads::pooled && P::keep == Keep::topK)
      count = P::guaranteed ? (int)m.winners[i] : pooled_quota(P::alpha, m.winners[i], count);
    auto rank = [&](int slot) { return rank_of(c.score[slot], lane_of(h, 0, slot)); };
    if (P::keep == Keep::above) {
      const Params params(s.params + (int64_t)row.seq * SKV_MAX_PARAMS);
      const float threshold = P::threshold(params.at);
      keep_if(c, [&](int slot) { return (float)c.score[slot] > threshold; });
    } else if (count >= c.candidates) {
      return;  // all stay
    } else if (P::keep == Keep::chunks) {
      keep_chunks(h, c, count, m.block);
    } else if (count == c.candidates - 1) {                   // one leaves
      if (P::pool != Pool::none || P::heads != Heads::own) {  // scores have changed since they were computed
        least = ~uint64_t{0};
        for (int slot = threadIdx.x; slot < c.live; slot += kBlockThreads)
          if (!c.stays(slot)) least = min(least, rank(slot));
      }
      least = block_least(m.block, least);
      keep_if(c, [&](int slot) { return rank(slot) != least; });
    } else if (count > 0) {
      const uint64_t border =
          radix_border<true>(m.block, c.live, count, [&](int slot) -> Item { return {!c.stays(slot), rank(slot), 1}; });
      keep_if(c, [&](int slot) { return rank(slot) > border; });
    }
    move_survivors(h, c, m.block);
  }

  __device__ __forceinline__ void compact() const {
    uint64_t least = 0;
    for (int i = 0; i < n; i++) {
      const Head<KV, D> h = head(i);
      Selection<P> c(m.layout, m.scratch + i * m.layout.words(), h.live);
      least = score_head(h, &c, m.block, m.tile, m.totals);
      if (threadIdx.x == 0) {
        m.live[i] = c.live;
        m.candidates[i] = c.candidates;
      }
      if (P::pool != Pool::none) {
        list_candidates(c, m.block);
        pool_scores(c);
      }
    }
    __syncthreads();
    const int budget = global(s.budgets)[(int64_t)row.seq * s.layers + layer];
    if (P::heads == Heads::shared) mean_scores();
    if (P::heads == Heads::pooled && P::keep == Keep::topK) count_winners(budget);
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
  const int64_t layer = (int64_t)row.seq * s.layers + item / units % s.layers;
  const int budget = global(s.budgets)[layer];
  if (budget == SKV_KEEP_ALL) return false;
  if constexpr (P::keep == Keep::profile)
    return chooses(row) || global((const int32_t*)s.profiles)[layer * s.kv_heads + item % units] != P::rules;
  if (P::keep != Keep::topK || P::heads == Heads::pooled) return true;
  bool exceeds = false;
  for (int i = 0; i < together; i++)
    exceeds |= global((const int32_t*)s.lengths)[layer * s.kv_heads + item % units * together + i] > budget;
  return exceeds;
}

template <class P, class KV, int D>
__global__ void __launch_bounds__(kBlockThreads, 1) compact_kernel(Step s, uint32_t* scratch) {
  Arena arena;
  const CompactMemory<P, D> m(arena, s, scratch);
  const int together = P::heads == Heads::own ? 1 : s.kv_heads, units = s.kv_heads / together;
  const int items = s.rows * s.layers * units;
  SKV_LOOP for (int base = blockIdx.x; base < items; base += kBlockThreads * gridDim.x) {
    const int item = base + threadIdx.x * gridDim.x;
    const bool works = item < items && has_work<P>(s, item, units, together);
    int total;
    const int at = block_scan(m.block, works, &total);
    if (works) m.queue[at] = item;
    __syncthreads();
    SKV_LOOP for (int k = 0; k < total; k++) {
      const int next = m.queue[k];
      const skv_row row = load_row(s, next / (s.layers * units));
      Unit<P, KV, D>(m, s, row, next).compact();
      __syncthreads();
    }
    __syncthreads();
  }
}
