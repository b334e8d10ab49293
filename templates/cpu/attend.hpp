// Attention of a step's queries over their live slots, all query heads of a KV head at once.
//
// A query's arithmetic is the same in every schedule: slots are taken in segments of SKV_SEGMENT; in a segment all
// logits, their maximum, the exponentials, their sum (16 lanes, then a tree) and the weighted values in slot order;
// segments are merged in order. Prefill walks the segments of a tile of queries; decode deals them to threads, and who
// finishes a head's last one merges them. Then, with the log-sum-exp at hand, the policy observes the queries.
//
// Decode reads every key and value once: 4 * dim bytes a slot in bf16. Prefill is bound by arithmetic: per query head
// and slot 2 * dim multiply-adds in bf16 pairs and one exponential; observing adds one multiplication.
#pragma once
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "dots.hpp"
#include "observe.hpp"
#include "replace.hpp"

constexpr int kTileRows = 48;   // most query rows (tokens x group) of a tile
constexpr int kBlockRows = 24;  // rows that go from logits to weighted values together
constexpr int kSplitRows = 64;  // most rows of a step whose segments are dealt out separately
constexpr int kKept = 1 << 19;  // bytes a tile keeps to be observed: they stay in the second-level cache

// Query rows' shares of attention: top logit, sum of exponentials relative to it, weighted values.
struct Shares {
  float *top, *sum, *values;  // [row], [row], [row][dim]
};

// A worker's buffers for one tile.
template <class KV>
struct Tile {
  typename KV::Pair* q;       // [kTileRows][dim / 2] scaled queries
  int* sees;                  // [kTileRows] slots that each row sees
  float* logits;              // [kBlockRows][SKV_SEGMENT]
  typename KV::Pair* p;       // [kSegmentPages][kBlockRows][kPagePairs] their exponentials
  typename KV::Word* turned;  // a page's keys
  Shares total, share;        // of all segments so far, and of one
  Tile(Scratch* scratch, int dim) {
    q = scratch->take<typename KV::Pair>(kTileRows * dim / 2), sees = scratch->take<int>(kTileRows);
    logits = scratch->take<float>(kBlockRows * SKV_SEGMENT);
    p = scratch->take<typename KV::Pair>(kSegmentPages * kBlockRows * kPagePairs);
    turned = scratch->take<typename KV::Word>(SKV_PAGE * dim);
    for (Shares* each : {&total, &share}) {
      each->top = scratch->take<float>(kTileRows), each->sum = scratch->take<float>(kTileRows);
      each->values = scratch->take<float>(kTileRows * dim);
    }
  }
  // Bytes, of the widest type.
  static int64_t bytes(int dim) {
    return 4 * ((int64_t)kTileRows * (3 * dim + 5) + 2 * kBlockRows * SKV_SEGMENT + SKV_PAGE * dim) + 11 * 64;
  }
};

SKV_INLINE void begin(const Shares& total, int rows, int dim) {
  std::fill_n(total.top, rows, -INFINITY), std::fill_n(total.sum, rows, 0.0f);
  std::fill_n(total.values, rows * dim, 0.0f);
}

// Adds a segment's shares of rows [first, rows), 16 rows at a time; of others in between, anything may be read.
SKV_INLINE void merge(const Shares& total, const Shares& segment, int first, int rows, int dim) {
  for (int r0 = first / 16 * 16; r0 < rows; r0 += 16) {
    const auto old = *(f32x16u*)(total.top + r0), sum = *(f32x16u*)(total.sum + r0);
    const f32x16 next = *(f32x16u*)(segment.top + r0), top = larger(next, old);
    const f32x16 a = exp16(old - top), b = exp16(next - top);
    *(f32x16u*)(total.top + r0) = first_of(first - r0, old, top);
    *(f32x16u*)(total.sum + r0) = first_of(first - r0, sum, sum * a + *(f32x16u*)(segment.sum + r0) * b);
    for (int r = std::max(first, r0); r < std::min(rows, r0 + 16); r++)
      for (int d = 0; d < dim; d++)
        total.values[r * dim + d] = total.values[r * dim + d] * a[r - r0] + segment.values[r * dim + d] * b[r - r0];
  }
}

// A row's largest logit; slots from `visible` on are made to count nothing.
SKV_INLINE float top_logit(float* x, int visible, int pages) {
  for (int s = visible; s < pages * SKV_PAGE; s++) x[s] = -INFINITY;
  f32x16 top = splat(-INFINITY), other = top;
  for (int i = 0; i < pages; i++) {
    top = larger(*(f32x16*)(x + i * SKV_PAGE), top);
    if (++i < pages) other = larger(*(f32x16*)(x + i * SKV_PAGE), other);
  }
  return top_of(larger(top, other));
}

// Exponentials of a row's logits x relative to the largest, as pairs of each page, `pitch` pairs apart; returns their
// sum.
template <class KV>
SKV_INLINE float soften(const float* x, float top, int visible, int pages, typename KV::Pair* p, int pitch) {
  f32x16 sum = splat(0);
  const f32x16 peak = splat(top);
  for (int i = 0; i < pages; i++) {
    const f32x16 at = *(f32x16*)(x + i * SKV_PAGE);
    f32x16 e = exp16(at - peak);
    if ((i + 1) * SKV_PAGE > visible) e = at > splat(-INFINITY) ? e : splat(0);
    sum += e;
    KV::put_pairs(e, p + (int64_t)i * pitch);
  }
  return sum_of(sum);
}

// One segment for query rows [0, rows) of which row r sees slots [0, sees[r]). Leaves shares of rows >= the returned
// first row (earlier ones see nothing of it), and what is observed in `kept` unless it is null. With kAhead the first
// block calls the pages that follow.
template <class P, class KV, bool kAhead>
int segment(const Head<KV>& h, const Way<KV>& way, int rows, const Tile<KV>& tile, const Shares& share,
            const Kept<KV>* kept) {
  const int slot0 = way.page0 * SKV_PAGE;
  int first = 0;
  while (first < rows && tile.sees[first] <= slot0) first++;
  for (int r0 = first; r0 < rows; r0 += kBlockRows) {
    const int n = std::min(rows - r0, kBlockRows);
    const int most = tile.sees[r0 + n - 1] - slot0, slots = most < SKV_SEGMENT ? most : SKV_SEGMENT;
    const int pages = pages_of(slots), pitch = (kept ? kept->rows : kBlockRows) * kPagePairs;
    const auto* q = tile.q + r0 * h.dim / 2;
    const bool ahead = kAhead && r0 == first;
    ahead ? segment_logits<P, KV, kAhead>(h, way, pages, q, n, tile.logits, tile.turned)
          : segment_logits<P, KV, false>(h, way, pages, q, n, tile.logits, tile.turned);
    int visible[kBlockRows];
    for (int i = 0; i < n; i++) {
      visible[i] = std::min(tile.sees[r0 + i] - slot0, slots);
      share.top[r0 + i] = top_logit(tile.logits + i * SKV_SEGMENT, visible[i], pages);
    }
    auto* p = kept ? kept->row(way.page0, r0) : tile.p;
    for (int i = 0, r = r0; i < n; i++, r++) {
      const float* x = tile.logits + i * SKV_SEGMENT;
      share.sum[r] = soften<KV>(x, share.top[r], visible[i], pages, p + i * kPagePairs, pitch);
      if (kept) *kept->factor(way.page0 / kSegmentPages, r) = share.top[r];
    }
    float* values = share.values + r0 * h.dim;
    ahead ? weigh_rows<KV, kAhead>(h, way, slots, n, p, pitch, values, h.dim)
          : weigh_rows<KV, false>(h, way, slots, n, p, pitch, values, h.dim);
  }
  return first;
}

SKV_INLINE int segments_of(int slots) { return (slots + SKV_SEGMENT - 1) / SKV_SEGMENT; }

// Scaled queries of tokens [t0, t1) and how many slots each row sees; returns the number of rows.
template <class KV>
int tile_queries(const Head<KV>& h, int t0, int t1, typename KV::Pair* q, int* sees) {
  const int g = h.shape->group, half = h.dim / 2, before = *h.length - h.row->tokens;
  const f32x16 scale = splat(h.shape->scale);
  for (int t = t0; t < t1; t++)
    for (int i = 0; i < g; i++) {
      const int r = (t - t0) * g + i;
      const float* from = h.query(t) + i * h.dim;
      for (int d = 0; d < h.dim; d += 16) KV::put_pairs(*(const f32x16u*)(from + d) * scale, q + r * half + d / 2);
      sees[r] = before + t + 1;
    }
  return (t1 - t0) * g;
}

SKV_INLINE void finish(const Shares& total, int r, int dim, float* out, float* lse) {
  const float part = 1.0f / total.sum[r];
  for (int d = 0; d < dim; d++) out[d] = total.values[r * dim + d] * part;
  *lse = total.top[r] + skv_log(total.sum[r]);
}

// A tile of a prompt chunk, segment after segment. Observed tokens of a head take their turn: `turn` is the next one.
template <class P, class KV>
void attend_tile(const Head<KV>& h, int t0, int t1, const Tile<KV>& tile, uint8_t* rest, std::atomic<int32_t>* turn) {
  if (h.row->tokens == 1) store<P>(h, *h.length - 1, *h.length);
  const int rows = tile_queries(h, t0, t1, tile.q, tile.sees), g = h.shape->group;
  const int first = std::max(t0, h.row->observe0 - h.row->pos0), last = std::min(t1, h.row->observe1 - h.row->pos0);
  const bool observed = P::observes && first < last;
  const Kept<KV> kept = {rest, rows}, *keep = observed ? &kept : nullptr;
  begin(tile.total, rows, h.dim);
  const int most = tile.sees[rows - 1], segments = segments_of(most);
  const bool wide = rows > kBlockRows;  // for a single block it would not pay to call
  for (int seg = 0; seg < segments; seg++) {
    const Way<KV> way = {h, seg * kSegmentPages, (most - 1) / SKV_PAGE};
    const int from = wide ? segment<P, KV, true>(h, way, rows, tile, tile.share, keep)
                          : segment<P, KV, false>(h, way, rows, tile, tile.share, keep);
    merge(tile.total, tile.share, from, rows, h.dim);
  }
  float lse[kTileRows];
  for (int r = 0; r < rows; r++) {
    const int t = t0 + r / g;
    finish(tile.total, r, h.dim, h.out(t) + r % g * h.dim, &lse[r]);
    h.lse(t)[r % g] = lse[r];
  }
  if constexpr (P::observes)
    if (observed) {
      kept.settle(segments, lse);
      while (turn->load(std::memory_order_acquire) < first) std::this_thread::yield();
      observe<P>(h, first, last, kept, t0);
      turn->store(last, std::memory_order_release);
    }
}

// What items of a step share.
//   left   [row][kv_head] of a split row: its segments that are not done yet; of others: the token to be observed next
//   heads_left [row] KV heads of a split row that are not done yet
//   shares [split row][kv_head][segment][dim + 2][group]    keeps [split row][kv_head], for all slots
struct Split {
  std::atomic<int32_t>*left, *heads_left;
  float *shares, *keeps;
  int64_t segments, group, dim, heads;
  explicit Split(const skv_step* step)
      : segments(segments_of(step->shape->max_slots)),
        group(step->shape->group),
        dim(step->shape->head_dim),
        heads(step->shape->kv_heads) {
    left = (std::atomic<int32_t>*)step->logits, heads_left = left + step->shape->max_rows * heads;
    shares = step->logits + counters(step->shape);
    keeps = shares + kSplitRows * heads * segments * group * (dim + 2);
  }
  static int64_t counters(const skv_shape* s) { return (int64_t(s->max_rows) * (s->kv_heads + 1) + 15) / 16 * 16; }
  static int64_t floats(const skv_shape* s, bool observes) {
    const int64_t segments = segments_of(s->max_slots), heads = (int64_t)kSplitRows * s->kv_heads;
    return counters(s) +
           heads * segments * (s->group * (s->head_dim + 2) + (observes ? Kept<F32>::bytes(s->group) / 4 : 0));
  }
  Shares share(int split, int head, int seg) const {
    float* at = shares + ((split * heads + head) * segments + seg) * group * (dim + 2);
    return {at, at + group, at + 2 * group};
  }
  template <class KV>
  Kept<KV> kept(int split, int head) const {
    return {(uint8_t*)keeps + (split * heads + head) * segments * Kept<KV>::bytes(group), int(group)};
  }
};

// Tokens of a tile of a prompt that is observed, when `slots` are live: they keep at most kKept, or are one token.
template <class KV>
SKV_INLINE int observed_width(const skv_shape* s, int slots) {
  const int64_t keeps = segments_of(slots) * Kept<KV>::bytes(s->group);
  return (int)std::clamp<int64_t>(kKept / keeps, 1, kTileRows / s->group);
}

// Of the widest type.
SKV_INLINE int64_t attend_scratch(const skv_shape* s, bool observes) {
  const int64_t token = segments_of(s->max_slots) * Kept<F32>::bytes(s->group);
  return Tile<F32>::bytes(s->head_dim) + (observes ? std::max<int64_t>(kKept, token) : 0);
}

// An item of a split row: segments [seg0, seg1) of a head; none when heads differ and this one is short.
template <class KV>
struct Run {
  Head<KV> h;
  int place, seg0, seg1;
  int last() const { return ((seg1 < segments_of(*h.length) ? seg1 * SKV_SEGMENT : *h.length) - 1) / SKV_PAGE; }
  Way<KV> way(int seg, const Way<KV>* then = nullptr) const { return {h, seg * kSegmentPages, last(), then}; }
};

// Which rows are split, and where each row's items start. A row is split when it has one query; it gets the next of
// kSplitRows places, or -1 when they are taken. An item of it is a run of segments of one head: long enough that
// calling pages ahead pays, short enough that the threads end together. An item of another row is a tile of tokens.
struct Schedule {
  std::vector<int> place, width, start;  // [rows], [rows] tokens of a tile, [rows + 1]
  int run;
  bool all_split;
  template <class P, class KV>
  void plan(const skv_step* step, int layer, int workers) {
    const skv_shape* s = step->shape;
    place.assign(step->rows, -1);
    width.assign(step->rows, kTileRows / s->group);
    start.assign(step->rows + 1, 0);
    int places = 0, all = 0;
    all_split = true;
    for (int r = 0; r < step->rows; r++) {
      const skv_row* row = step->row + r;
      if (row->policy != step->self) continue;
      int most = 0;
      const bool split = row->tokens == 1 && places < kSplitRows;
      for (int h = 0; h < s->kv_heads; h++) {
        const int slots = *Head<KV>(step, row, layer, h).length;
        most = std::max(most, slots);
        if (split) all += segments_of(slots);
      }
      if (split) place[r] = places++;
      all_split &= split;
      if (P::observes && row->observe1 > row->observe0) width[r] = observed_width<KV>(s, most);
      start[r + 1] = split ? segments_of(most) : (row->tokens + width[r] - 1) / width[r];
    }
    run = std::clamp(all / (6 * workers), 1, 8);
    for (int r = 0; r < step->rows; r++) {
      const int items = place[r] >= 0 ? (start[r + 1] + run - 1) / run : start[r + 1];
      start[r + 1] = start[r] + items * s->kv_heads;
    }
  }
  int row_of(int item) const { return int(std::upper_bound(start.begin(), start.end(), item) - start.begin()) - 1; }
  template <class KV>
  Run<KV> run_of(const skv_step* step, int layer, int item) const {
    const int r = row_of(item), heads = step->shape->kv_heads, seg0 = (item - start[r]) / heads * run;
    const Head<KV> h(step, step->row + r, layer, (item - start[r]) % heads);
    return {h, place[r], seg0, std::min(seg0 + run, segments_of(*h.length))};
  }
};

// The schedule of the attend under way: grown once, reused by every layer of every step.
inline thread_local Schedule schedule;

// A run of a decode row; who finishes the head's last one merges them all, in order, and then decides what leaves.
// `then` is where this worker is likely to go afterwards.
template <class P, class KV>
void attend_run(const Run<KV>& run, const Way<KV>* then, const Split& split, const Tile<KV>& tile) {
  const Head<KV>& h = run.h;
  const int g = h.shape->group, segments = segments_of(*h.length), r = int(h.row - h.step->row);
  const Way<KV> start = run.way(run.seg0);
  for (int j = 0; j < Way<KV>::kAhead; j++)
    for (int b = 0; b < h.layout().values - h.layout().keys; b += 64) call(start.half(j) + b);
  tile_queries(h, 0, 1, tile.q, tile.sees);
  const bool observed = P::observes && h.row->observe1 > h.row->observe0;
  const Kept<KV> kept = split.kept<KV>(run.place, h.head);
  for (int seg = run.seg0; seg < run.seg1; seg++) {
    if (seg == segments - 1) store<P>(h, *h.length - 1, *h.length);
    const Shares share = split.share(run.place, h.head, seg);
    segment<P, KV, true>(h, run.way(seg, then), g, tile, share, observed ? &kept : nullptr);
  }
  const int done = run.seg1 - run.seg0;
  if (split.left[r * split.heads + h.head].fetch_sub(done, std::memory_order_acq_rel) > done) return;
  begin(tile.total, g, h.dim);
  for (int seg = 0; seg < segments; seg++) merge(tile.total, split.share(run.place, h.head, seg), 0, g, h.dim);
  for (int i = 0; i < g; i++) finish(tile.total, i, h.dim, h.out(0) + i * h.dim, h.lse(0) + i);
  if (observed) kept.settle(segments, h.lse(0));
  if constexpr (P::observes)
    if (observed) observe<P>(h, 0, 1, kept, 0);
  if constexpr (replaces<P>()) {
    const bool alone = P::heads == Heads::own;
    if (h.row->compact && (alone || split.heads_left[r].fetch_sub(1, std::memory_order_acq_rel) == 1))
      replace<P, KV>(h.step, h.row, h.layer, alone ? h.head : 0, alone ? h.head + 1 : int(split.heads));
  }
}

template <class P, class KV>
int32_t attend(const skv_step* step, int32_t layer, const skv_exec* exec) {
  const int heads = step->shape->kv_heads;
  if (step->shape->group > kTileRows) return SKV_E_SHAPE;
  const Split split(step);
  Schedule& plan = schedule;
  plan.plan<P, KV>(step, layer, exec->workers);
  for (int r = 0; r < step->rows; r++) {
    const skv_row* row = step->row + r;
    split.heads_left[r] = heads;
    for (int h = 0; h < heads; h++)
      split.left[r * heads + h] =
          plan.place[r] >= 0 ? segments_of(*Head<KV>(step, row, layer, h).length) : row->observe0 - row->pos0;
  }
  const int items = plan.start[step->rows];
  each(exec, items, plan.all_split ? Deal::near : Deal::in_order, [&](int32_t item, int32_t worker) {
    const int r = plan.row_of(item);
    Scratch scratch(exec, worker);
    const Tile<KV> tile(&scratch, step->shape->head_dim);
    if (plan.place[r] >= 0) {
      const Run<KV> run = plan.run_of<KV>(step, layer, item);
      if (run.seg0 >= run.seg1) return;
      const Run<KV> next = plan.run_of<KV>(step, layer, std::min(item + 1, items - 1));
      const Way<KV> then = next.way(next.seg0);
      return attend_run<P, KV>(run, plan.all_split ? &then : nullptr, split, tile);
    }
    // the last tiles see the most slots and go first; not so where tokens are observed in turn
    const int index = (item - plan.start[r]) / heads;
    const Head<KV> h(step, step->row + r, layer, (item - plan.start[r]) % heads);
    const bool in_turn = P::observes && h.row->observe1 > h.row->observe0;
    const int width = plan.width[r], tiles = (h.row->tokens + width - 1) / width;
    const int t0 = (in_turn ? index : tiles - 1 - index) * width;
    uint8_t* rest = scratch.take<uint8_t>(0);  // what attend_scratch adds for a policy that observes
    attend_tile<P>(h, t0, std::min(t0 + width, h.row->tokens), tile, rest, split.left + r * heads + h.head);
  });
  return 0;
}
