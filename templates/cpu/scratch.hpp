// What the items of attend leave each other and observe, in the step's own memory and in workers' scratch.
//
//   remaining         [row][kv_head]  segments of a split row that are not done; of other rows: the token to be
//   observed
//                                     next
//   heads_remaining   [row]           KV heads of a split row that are not done
//   partials          [split row][kv_head][segment] of a query group: max [group], sum [group], out [group][dim]
//   probabilities     [split row][kv_head], of a query group, for all slots
#pragma once
#include <algorithm>
#include <atomic>

#include "kernels.hpp"
#include "products.hpp"

constexpr int kSplitRows = 64;  // most rows of a step that are split
// Most bytes of probabilities that a tile leaves: they stay in the second-level cache. By their number, so that tiles
// are as wide where a probability takes more.
template <class KV>
constexpr int64_t kObservedBytes = int64_t(sizeof(typename KV::Multiplier)) << 17;

// Attention of query rows over some slots: the largest logit, the sum of exponentials relative to it, and the values
// that these weigh.
struct Partials {
  float *max, *sum, *out;  // [row], [row], [row][dim]
};

// Probabilities of `rows` query rows, segment by segment, as they met the values:
//   factors [row]: the row's largest logit in the segment, and once the LSE is known what makes probabilities of the
//   exponentials [page][row][8 pairs of slots], relative to that logit
template <class KV>
struct Probabilities {
  uint8_t* at;
  int rows;
  static int64_t factor_bytes(int rows) { return (rows + 15) / 16 * 16 * sizeof(float); }
  static int64_t bytes(int rows) {  // of a segment
    return factor_bytes(rows) + rows * kSegmentPages * kPagePairs * sizeof(typename KV::Multiplier);
  }
  float* factor(int seg, int r) const { return (float*)(at + seg * bytes(rows)) + r; }
  typename KV::Multiplier* pairs(int page, int r) const {
    auto* first = (typename KV::Multiplier*)(at + page / kSegmentPages * bytes(rows) + factor_bytes(rows));
    return first + (page % kSegmentPages * rows + r) * kPagePairs;
  }
  // lse [rows]. Rows that see nothing of a segment get anything.
  void normalise(int segments, const float* lse) const {
    for (int r = 0; r < rows; r += 16) {
      f32x16 of = splat(0);
      memcpy(&of, lse + r, std::min(rows - r, 16) * sizeof(float));
      for (int seg = 0; seg < segments; seg++) *(f32x16*)factor(seg, r) = exp_of(*(f32x16*)factor(seg, r) - of);
    }
  }
};

// The step's memory: skv_step.logits.
struct StepScratch {
  std::atomic<int32_t>*remaining, *heads_remaining;
  float *partials0, *probabilities0;
  int64_t segments, group, dim, heads;
  explicit StepScratch(const skv_step* step)
      : segments(segments_of(step->shape->max_slots)),
        group(step->shape->group),
        dim(step->shape->head_dim),
        heads(step->shape->kv_heads) {
    remaining = (std::atomic<int32_t>*)step->logits;
    heads_remaining = remaining + step->shape->max_rows * heads;
    partials0 = step->logits + counters(step->shape);
    probabilities0 = partials0 + kSplitRows * heads * segments * group * (dim + 2);
  }
  static int64_t counters(const skv_shape* s) { return (int64_t(s->max_rows) * (s->kv_heads + 1) + 15) / 16 * 16; }
  // Of the widest type.
  static int64_t floats(const skv_shape* s, bool observes) {
    const int64_t segments = segments_of(s->max_slots), heads = (int64_t)kSplitRows * s->kv_heads;
    const int64_t probabilities = observes ? Probabilities<F32>::bytes(s->group) / 4 : 0;
    return counters(s) + heads * segments * (s->group * (s->head_dim + 2) + probabilities);
  }
  // place: which of the split rows.
  Partials partials(int place, int head, int seg) const {
    float* at = partials0 + ((place * heads + head) * segments + seg) * group * (dim + 2);
    return {at, at + group, at + 2 * group};
  }
  template <class KV>
  Probabilities<KV> probabilities(int place, int head) const {
    auto* first = (uint8_t*)probabilities0;
    return {first + (place * heads + head) * segments * Probabilities<KV>::bytes(group), int(group)};
  }
};
