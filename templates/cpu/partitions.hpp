// Statistics of partitions, and the scores that read them: one run of slots, those of a partition, after the other.
//
//   states [state][slot], keys and values [slot][dim] -> extremes [floats] of the run that follows, places
//   [place][slot] -> score [slot]
//   reads a head's vectors once for the extremes, and for each place and score that reads them; a slot's arithmetic
//   takes longer. A rank sorts its run.
//
// Slots lie in position order. What a run's extremes are of is the partition that follows, which may have no slots.
#pragma once
#include <algorithm>

#include "across.hpp"

// Takes values of a page's slots [from, end) into extremes, sixteen of each float, of which the largest or smallest is
// the extreme: the slots' own vectors, which lie across the page, all when the first slot comes.
template <class P>
struct Extremes {
  f32x16* lanes;  // [floats of the statistics]
  int dim, from, end;
  SKV_FLAT f32x16* of(int i) const { return lanes + statistic_at<P>(i, dim); }
  SKV_FLAT void operator()(int i, float value) const { take(P::reduce(i), of(i), value); }
  SKV_FLAT void operator()(int i, const Vec& value) const {
    for (int d = 0; d < dim; d++) take(P::reduce(i), of(i) + d, value.at[d]);
  }
  SKV_FLAT void operator()(int i, const SlotVec& value) const {
    if (value.slot != from) return;
    const auto* all = (const Sixteen*)value.page->all();
    const Sixteen present = {(f32x16)(first_lanes(end) & ~first_lanes(from))};
    auto* to = (Sixteen*)of(i);
    for (int d = 0; d < dim; d++)
      for (int n = 0; n < kRegisters; n++) {
        const f32xN x = all[d].reg[n], most = to[d].reg[n];
        const i32xN more = P::reduce(i) == Reduce::max ? x > most : x < most;
        to[d].reg[n] = more & (i32xN)present.reg[n] ? x : most;
      }
  }
  static SKV_FLAT void take(Reduce how, f32x16* most, float value) { (*most)[0] = extreme_of(how, (*most)[0], value); }
};

SKV_INLINE float extreme_of_lanes(Reduce how, const f32x16& lanes) {
  float most = lanes[0];
  for (int l = 1; l < SKV_PAGE; l++) most = extreme_of(how, most, lanes[l]);
  return most;
}

// The slot with a head size that the compiler knows.
template <class Pass>
SKV_INLINE void with_known_dim(Slot slot, Pass pass) {
  known_dim(slot.dim, [&](int dim) SKV_FLAT {
    slot.dim = dim;
    pass(slot);
  });
}

// What a policy says of a slot's vectors, each compiled once and not into every loop that asks: it is most of what
// there is to compile, and to compute.
template <class P>
[[gnu::noinline]] void take_extremes(const Slot& slot, const float* states, const Extremes<P>& extremes) {
  with_known_dim(slot, [&](const Slot& slot) SKV_FLAT {
    P::extremes_slot(slot, states, Extremes<P>{extremes.lanes, slot.dim, extremes.from, extremes.end});
  });
}
template <class P, int place>
[[gnu::noinline]] float place_of(const Slot& slot, const float* states, const typename P::Across& across) {
  float out;
  with_known_dim(slot, [&](const Slot& slot) SKV_FLAT { out = P::template place_by<place>(slot, states, across); });
  return out;
}

// What the runs of a head are scored with. placed [P::places][live] and order [live] are scratch.
template <class P>
struct Runs {
  int live, dim;
  float* placed;
  uint64_t* order;
  typename P::Across across;  // the head's; then also the run's, and a slot's

  SKV_FLAT Runs(int live, int dim, const typename P::Across& across) : live(live), dim(dim), across(across) {}

  // The first `known` places of slot s.
  template <int known>
  SKV_FLAT void load(int s) {
    P::template load_places<known>([&](int i) SKV_FLAT { return placed[(int64_t)i * live + s]; }, &across);
  }

  // Places from number `place` on of slots [from, end).
  template <int place, class Walk>
  SKV_FLAT void set_places(int from, int end, Walk walk) {
    if constexpr (place < P::places) {
      float* x = placed + (int64_t)place * live;
      walk(from, end, P::place_reads_key(place), P::place_reads_value(place),
           [&](int s, const Slot& slot, const float* states) SKV_FLAT {
             load<place>(s);
             x[s] = place_of<P, place>(slot, states, across);
           });
      if (P::place_how(place) == Reduce::softmax)
        softmax_of(x, from, end);
      else
        ranks_of(x, from, end, order);
      set_places<place + 1>(from, end, walk);
    }
  }

  // partition(s): of slot s. walk(from, end, keys, values, visit): visit(s, slot, states) for slots [from, end), with
  // keys and values if asked for. score [live]
  template <class Partition, class Walk>
  SKV_FLAT void score(Partition partition, Walk walk, float* score) {
    constexpr int floats = statistic_at<P>(P::statistics, kMaxDim);
    float totals[floats];
    f32x16 lanes[floats];
    auto end_of = [&](int from) SKV_FLAT {
      int end = from;
      while (end < live && partition(end) == partition(from)) end++;
      return end;
    };
    for (int from = 0, end = end_of(0); from < live;) {
      const int next = end_of(end);
      for (int i = 0; i < P::statistics; i++)
        if (P::is_next(i))
          std::fill_n(lanes + statistic_at<P>(i, dim), P::is_vector(i) ? dim : 1, splat(total_of_none(P::reduce(i))));
      if (end < live && partition(end) == partition(from) + 1)
        walk(end, next, P::extremes_read_key, P::extremes_read_value,
             [&](int s, const Slot& slot, const float* states) SKV_FLAT {
               const int slot0 = s / SKV_PAGE * SKV_PAGE;
               take_extremes<P>(slot, states, {lanes, dim, std::max(end - slot0, 0), std::min(next - slot0, SKV_PAGE)});
             });
      for (int i = 0; i < P::statistics; i++)
        for (int f = statistic_at<P>(i, dim); P::is_next(i) && f < statistic_at<P>(i + 1, dim); f++)
          totals[f] = statistic_of(P::reduce(i), extreme_of_lanes(P::reduce(i), lanes[f]), next - end);
      P::load_extremes(Totals<P>{totals, dim}, &across);
      set_places<0>(from, end, walk);
      walk(from, end, P::score_reads_key, P::score_reads_value,
           [&](int s, const Slot& slot, const float* states) SKV_FLAT {
             load<P::places>(s);
             score[s] = P::score(slot, states, across);
           });
      from = end;
      end = next;
    }
  }
};

// Scores of a head's slots.
template <class P>
SKV_INLINE void score_runs(const AnyHead& h, Selection* c, const typename P::Across& across) {
  const float* params = h.step->params + (int64_t)h.row->seq * SKV_MAX_PARAMS;
  PageVecs keys, values;
  auto partition = [&](int s) SKV_FLAT { return P::partition(h.lane(s / SKV_PAGE, 0)[s % SKV_PAGE], params); };
  auto walk = [&](int from, int end, bool reads_keys, bool reads_values, auto visit) SKV_FLAT {
    for (int p = from / SKV_PAGE; p * SKV_PAGE < end; p++) {
      const int slot0 = p * SKV_PAGE, s0 = std::max(from - slot0, 0), s1 = std::min(end - slot0, SKV_PAGE);
      visit_slots<P, false>(h, p, s0, s1, reads_keys, reads_values, &keys, &values,
                            [&](int s, const Slot& slot, const float* states)
                                SKV_FLAT { visit(slot0 + s, slot, states); });
    }
  };
  Runs<P> runs(c->live, h.dim, across);
  runs.placed = c->placed;
  runs.order = c->order;
  runs.score(partition, walk, c->score);
}
