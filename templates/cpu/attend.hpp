// attend: attention of a step's queries over their live slots, all query heads of a KV head at once, and what comes
// cheapest while a head's pages are in the cache: the policy observes the queries, and of rows of one token the token
// is stored first and, where one slot is to leave, replaced last.
//
//   q, out [token][kv_head][group][dim] f32, lse [token][kv_head][group]
//   items: of rows of one token splits (decode.hpp), of others tiles of tokens (prefill.hpp)
#pragma once
#include <vector>

#include "decode.hpp"
#include "prefill.hpp"

// Whether a policy sees queries of a row in a layer.
SKV_INLINE bool observed(const skv_row* row, const skv_layer_shape& layer) {
  return row->observe1 > row->observe0 && layer.window == 0;
}

// Which rows are split, and where each row's items start. A row is split when it has one token; it gets the next of
// kSplitRows places, or -1 when they are taken. A split is long enough that prefetching pays, short enough that the
// threads end together.
struct Schedule {
  std::vector<int> place, width, start;  // [rows], [rows] tokens of a tile, [rows + 1]
  int run;                               // segments of a split
  bool all_split;
  template <class KV>
  void plan(const skv_step* step, int layer, int workers, bool observes) {
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
        const int segments = Head<KV>(step, row, layer, h).segments();
        most = std::max(most, segments);
        if (split) all += segments;
      }
      if (split) place[r] = places++;
      all_split &= split;
      if (observes && observed(row, s->layer[layer])) width[r] = observed_width<KV>(s, most);
      start[r + 1] = split ? most : (row->tokens + width[r] - 1) / width[r];
    }
    run = std::clamp(all / (6 * workers), 1, 8);
    for (int r = 0; r < step->rows; r++) {
      const int items = place[r] >= 0 ? (start[r + 1] + run - 1) / run : start[r + 1];
      start[r + 1] = start[r] + items * s->kv_heads;
    }
  }
  int row_of(int item) const { return int(std::upper_bound(start.begin(), start.end(), item) - start.begin()) - 1; }
  // An item of a split row: a head's splits are neighbours, so that most of its pages are in the cache of whoever ends
  // it.
  template <class KV>
  Split<KV> split_of(const skv_step* step, int layer, int item) const {
    const int r = row_of(item), splits = (start[r + 1] - start[r]) / step->shape->kv_heads;
    const int segment0 = (item - start[r]) % splits * run;
    const Head<KV> h(step, step->row + r, layer, (item - start[r]) / splits);
    return {h, place[r], segment0, std::min(segment0 + run, h.segments())};
  }
};

// The schedule of the attend under way: grown once, reused by every layer of every step.
inline thread_local Schedule schedule;

// Sets what the items count down.
template <class KV>
void begin_counts(const skv_step* step, int layer, const Schedule& plan, const StepScratch& shared) {
  const int heads = step->shape->kv_heads;
  for (int r = 0; r < step->rows; r++) {
    const skv_row* row = step->row + r;
    shared.heads_remaining[r] = heads;
    for (int h = 0; h < heads; h++)
      shared.remaining[r * heads + h] =
          plan.place[r] >= 0 ? Head<KV>(step, row, layer, h).segments() : row->observe0 - row->pos0;
  }
}

template <class KV>
int32_t attend(const skv_step* step, int32_t layer, const skv_exec* exec, const PolicyPasses& policy) {
  const int heads = step->shape->kv_heads;
  const StepScratch shared(step);
  Schedule& plan = schedule;
  plan.plan<KV>(step, layer, exec->workers, policy.observes);
  begin_counts<KV>(step, layer, plan, shared);
  const int items = plan.start[step->rows];
  parallel_for(exec, items, plan.all_split ? Order::neighbours : Order::in_order, [&](int32_t item, int32_t worker) {
    const int r = plan.row_of(item);
    Scratch scratch(exec, worker);
    const Tile<KV> tile(&scratch, step->shape->head_dim);
    if (plan.place[r] >= 0) {
      const Split<KV> split = plan.split_of<KV>(step, layer, item);
      if (split.segment0 >= split.segment1) return;
      const Split<KV> after = plan.split_of<KV>(step, layer, std::min(item + 1, items - 1));
      const PageCursor<KV> next = after.cursor(after.segment0);
      return attend_split(split, plan.all_split ? &next : nullptr, shared, tile, policy);
    }
    // the last tiles see the most slots and go first; not so where each waits for the one before it
    const int index = (item - plan.start[r]) / heads;
    const Head<KV> h(step, step->row + r, layer, (item - plan.start[r]) % heads);
    const bool waits = policy.observes && observed(h.row, step->shape->layer[layer]);
    const int width = plan.width[r], tiles = (h.row->tokens + width - 1) / width;
    const int t0 = (waits ? index : tiles - 1 - index) * width;
    uint8_t* rest = scratch.take<uint8_t>(0);  // what tile_scratch adds for a policy that observes
    attend_tile(h, t0, std::min(t0 + width, h.row->tokens), tile, rest, shared.remaining + r * heads + h.head, policy);
  });
  return 0;
}
