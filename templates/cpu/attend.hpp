// Attention of a step's queries over their live slots, all query heads of a KV head at once.
//
// A query's arithmetic is the same in every schedule: slots are taken in segments of SKV_SEGMENT; in a segment all logits,
// their maximum, the exponentials, their sum (16 lanes, then a tree) and the weighted values in slot order; segments are
// merged in order. Prefill walks the segments of a tile of queries; decode deals them to threads and merges afterwards.
#pragma once
#include <algorithm>
#include <vector>

#include "pages.hpp"

constexpr int kSegmentPages = SKV_SEGMENT / SKV_PAGE;
constexpr int kTileRows = 32;   // most query rows (tokens x group) of a tile
constexpr int kSplitRows = 64;  // most rows of a step whose segments are dealt out separately

// Keys of a page as f32, turned by their slots' shifts: positions as if evicted tokens had never been.
template <class KV>
void turned_keys(const Head<KV>& h, int p, const int32_t* shift, float* out) {
  const int half = h.dim / 2;
  for (int i = 0; i < half; i++) {
    const int a = h.shape->rope_interleaved ? 2 * i : i, b = h.shape->rope_interleaved ? 2 * i + 1 : i + half;
    for (int s = 0; s < SKV_PAGE; s++) {
      const float x = KV::decode(h.keys(p)[KV::key_at(a, s)]), y = KV::decode(h.keys(p)[KV::key_at(b, s)]);
      const double angle = (double)shift[s] * (double)h.shape->inv_freq[i];
      const float c = shift[s] ? (float)__builtin_cos(angle) : 1.0f, n = shift[s] ? (float)__builtin_sin(angle) : 0.0f;
      out[F32::key_at(a, s)] = x * c - y * n;
      out[F32::key_at(b, s)] = x * n + y * c;
    }
  }
}

// logits[r][slot] of R query rows for one page; q [R][dim] is scaled already.
template <class KV, int R>
SKV_INLINE void page_logits(const typename KV::Word* keys, const float* q, int dim, float* logits, int stride) {
  f32x16 acc[R];
  for (int r = 0; r < R; r++) acc[r] = splat(0);
  for (int j = 0; j < dim / 2; j++) {
    f32x16 even, odd;
    KV::key_pair(keys, j, &even, &odd);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      acc[r] = fma(even, splat(q[r * dim + 2 * j]), acc[r]);
      acc[r] = fma(odd, splat(q[r * dim + 2 * j + 1]), acc[r]);
    }
  }
  for (int r = 0; r < R; r++) *(f32x16*)(logits + (int64_t)r * stride) = acc[r];
}

template <class KV>
SKV_INLINE void rows_logits(const typename KV::Word* keys, const float* q, int rows, int dim, float* logits, int stride) {
  int r = 0;
  for (; r + 8 <= rows; r += 8) page_logits<KV, 8>(keys, q + r * dim, dim, logits + (int64_t)r * stride, stride);
  for (; r + 3 <= rows; r += 3) page_logits<KV, 3>(keys, q + r * dim, dim, logits + (int64_t)r * stride, stride);
  for (; r < rows; r++) page_logits<KV, 1>(keys, q + r * dim, dim, logits + (int64_t)r * stride, stride);
}

// Logits of query rows for page p, whether or not its slots are shifted. turned [dim][16] is scratch.
template <class P, class KV>
SKV_INLINE void logits_of(const Head<KV>& h, int p, const float* q, int rows, float* logits, int stride, float* turned) {
  if (P::shift_lane) {
    const int32_t* shift = h.lane(p, P::shift_lane);
    int32_t any = 0;
    for (int s = 0; s < SKV_PAGE && p * SKV_PAGE + s < *h.length; s++) any |= shift[s];
    if (any) {
      turned_keys(h, p, shift, turned);
      return rows_logits<F32>(turned, q, rows, h.dim, logits, stride);
    }
  }
  rows_logits<KV>(h.keys(p), q, rows, h.dim, logits, stride);
}

// out[r][B * 16 dims] = sum over slots of p[r][slot] * value[slot], in slot order.
template <class KV, int R, int B>
SKV_INLINE void weigh(const Head<KV>& h, int page0, int slots, int d0, const float* p, float* out, int out_stride) {
  f32x16 acc[R][B];
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) acc[r][b] = splat(0);
  for (int s = 0; s < slots; s++) {
    const auto* value = h.values(page0 + s / SKV_PAGE) + s % SKV_PAGE * h.dim + d0;
    f32x16 v[B];
    for (int b = 0; b < B; b++) v[b] = KV::value(value + 16 * b);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const f32x16 weight = splat(p[r * SKV_SEGMENT + s]);
      for (int b = 0; b < B; b++) acc[r][b] = fma(weight, v[b], acc[r][b]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) *(f32x16u*)(out + (int64_t)r * out_stride + d0 + 16 * b) = acc[r][b];
}

template <class KV, int B>
SKV_INLINE void weigh_rows(const Head<KV>& h, int page0, int slots, int d0, int rows, const float* p, float* out, int stride) {
  int r = 0;
  for (; r + 6 <= rows; r += 6) weigh<KV, 6, B>(h, page0, slots, d0, p + r * SKV_SEGMENT, out + (int64_t)r * stride, stride);
  for (; r + 3 <= rows; r += 3) weigh<KV, 3, B>(h, page0, slots, d0, p + r * SKV_SEGMENT, out + (int64_t)r * stride, stride);
  for (; r < rows; r++) weigh<KV, 1, B>(h, page0, slots, d0, p + r * SKV_SEGMENT, out + (int64_t)r * stride, stride);
}

// A query row's share of attention so far: top logit, sum of exponentials relative to it, weighted values.
struct Partial {
  float top, sum;
  float* values;  // [dim]
};

// Adds a segment's share to a running one; the first one starts from { -inf, 0, 0 }.
SKV_INLINE void merge(Partial* into, const Partial& segment, int dim) {
  const float top = segment.top > into->top ? segment.top : into->top;
  const float a = skv_exp(into->top - top), b = skv_exp(segment.top - top);
  into->top = top;
  into->sum = into->sum * a + segment.sum * b;
  for (int d = 0; d < dim; d++) into->values[d] = into->values[d] * a + segment.values[d] * b;
}

// One segment for query rows [0, rows) of which row r sees slots [0, sees[r]). Leaves shares of rows >= the returned first
// row (earlier ones see nothing of it) in part[]; raw logits go to `keep` [row][keep_stride] when it is not null.
template <class P, class KV>
int segment(const Head<KV>& h, int seg, const float* q, const int* sees, int rows, Partial* part, float* p, float* turned,
            float* keep, int64_t keep_stride) {
  const int slot0 = seg * SKV_SEGMENT, page0 = seg * kSegmentPages;
  int first = 0;
  while (first < rows && sees[first] <= slot0) first++;
  const int most = sees[rows - 1] - slot0, slots = most < SKV_SEGMENT ? most : SKV_SEGMENT;
  const int pages = (slots + SKV_PAGE - 1) / SKV_PAGE, n = rows - first;
  for (int i = 0; i < pages; i++)
    logits_of<P>(h, page0 + i, q + first * h.dim, n, p + first * SKV_SEGMENT + i * SKV_PAGE, SKV_SEGMENT, turned);
  for (int r = first; r < rows; r++) {
    float* x = p + r * SKV_SEGMENT;
    const int visible = sees[r] - slot0 < slots ? sees[r] - slot0 : slots;
    for (int s = visible; s < pages * SKV_PAGE; s++) x[s] = -INFINITY;
    if (keep) memcpy(keep + r * keep_stride + slot0, x, pages * SKV_PAGE * sizeof(float));
    f32x16 top = splat(-INFINITY), sum = splat(0);
    for (int i = 0; i < pages; i++) {
      const f32x16 at = *(f32x16*)(x + i * SKV_PAGE);
      top = at > top ? at : top;
    }
    part[r].top = top_of(top);
    const f32x16 peak = splat(part[r].top);
    for (int i = 0; i < pages; i++) {
      const f32x16 e = exp16(*(f32x16*)(x + i * SKV_PAGE) - peak);
      *(f32x16*)(x + i * SKV_PAGE) = e;
      sum += e;
    }
    part[r].sum = skv_tree((float*)&sum);
  }
  int d = 0;
  float* out = part[first].values;
  for (; d + 64 <= h.dim; d += 64) weigh_rows<KV, 4>(h, page0, slots, d, n, p + first * SKV_SEGMENT, out, h.dim);
  for (; d < h.dim; d += 16) weigh_rows<KV, 1>(h, page0, slots, d, n, p + first * SKV_SEGMENT, out, h.dim);
  return first;
}

SKV_INLINE int segments_of(int slots) { return (slots + SKV_SEGMENT - 1) / SKV_SEGMENT; }

// Scaled queries of tokens [t0, t1) and how many slots each row sees; returns the number of rows.
template <class KV>
int tile_queries(const Head<KV>& h, int t0, int t1, float* q, int* sees) {
  const int g = h.shape->group, before = *h.length - h.row->tokens;
  for (int t = t0; t < t1; t++)
    for (int i = 0; i < g; i++) {
      const int r = (t - t0) * g + i;
      for (int d = 0; d < h.dim; d++) q[r * h.dim + d] = h.query(t)[i * h.dim + d] * h.shape->scale;
      sees[r] = before + t + 1;
    }
  return (t1 - t0) * g;
}

SKV_INLINE void finish(Partial& whole, int dim, float* out, float* lse) {
  for (int d = 0; d < dim; d++) out[d] = whole.values[d] / whole.sum;
  *lse = whole.top + skv_log(whole.sum);
}

// A tile of a prompt chunk, segment after segment.
template <class P, class KV>
void attend_tile(const Head<KV>& h, int t0, int t1, Scratch scratch) {
  float* q = scratch.take<float>(kTileRows * h.dim);
  int* sees = scratch.take<int>(kTileRows);
  float* p = scratch.take<float>(kTileRows * SKV_SEGMENT);
  float* turned = scratch.take<float>(SKV_PAGE * h.dim);
  float *totals = scratch.take<float>(kTileRows * h.dim), *shares = scratch.take<float>(kTileRows * h.dim);
  const int rows = tile_queries(h, t0, t1, q, sees), g = h.shape->group;
  Partial total[kTileRows], share[kTileRows];
  for (int r = 0; r < rows; r++) {
    total[r] = { -INFINITY, 0, totals + r * h.dim };
    share[r] = { 0, 0, shares + r * h.dim };
    memset(total[r].values, 0, h.dim * sizeof(float));
  }
  for (int seg = 0; seg < segments_of(sees[rows - 1]); seg++)
    for (int r = segment<P>(h, seg, q, sees, rows, share, p, turned, nullptr, 0); r < rows; r++) merge(&total[r], share[r], h.dim);
  for (int r = 0; r < rows; r++) finish(total[r], h.dim, h.out(t0 + r / g) + r % g * h.dim, h.lse(t0 + r / g) + r % g);
}

// Where decode keeps its segments' shares and, for a policy that observes, its logits.
//   shares [split row][kv_head][segment][group][dim + 2]    logits [split row][kv_head][group][max_slots]
struct Split {
  float *shares, *logits;
  int64_t segments, group, dim, slots, heads;
  explicit Split(const skv_step* step)
      : segments(segments_of(step->shape->max_slots)), group(step->shape->group), dim(step->shape->head_dim),
        slots(step->shape->max_slots), heads(step->shape->kv_heads) {
    shares = step->logits;
    logits = shares + kSplitRows * heads * segments * group * (dim + 2);
  }
  static int64_t floats(const skv_shape* s, bool observes) {
    const int64_t segments = segments_of(s->max_slots), rows = (int64_t)kSplitRows * s->kv_heads * s->group;
    return rows * segments * (s->head_dim + 2) + (observes ? rows * s->max_slots : 0);
  }
  float* share(int split, int head, int seg, int g) const {
    return shares + (((split * heads + head) * segments + seg) * group + g) * (dim + 2);
  }
  float* row_logits(int split, int head) const { return logits + (split * heads + head) * group * slots; }
};

SKV_INLINE int64_t attend_scratch(const skv_shape* s) {
  return (int64_t)kTileRows * (s->head_dim * 3 + SKV_SEGMENT + 1) * 4 + (int64_t)SKV_PAGE * s->head_dim * 4 + 1024;
}

// Which rows are split, and where each row's items start. A row is split when it has one query; it gets the next of
// kSplitRows places, or -1 when they are taken.
struct Schedule {
  std::vector<int> place, start;  // [rows], [rows + 1]
  template <class KV>
  void plan(const skv_step* step, int layer, int tile) {
    place.assign(step->rows, -1);
    start.assign(step->rows + 1, 0);
    int places = 0;
    for (int r = 0; r < step->rows; r++) {
      const skv_row* row = step->row + r;
      int items = 0;
      if (row->policy == step->self) {
        if (row->tokens == 1 && places < kSplitRows) {
          place[r] = places++;
          for (int h = 0; h < step->shape->kv_heads; h++) {
            const int n = segments_of(*Head<KV>(step, row, layer, h).length);
            items = n > items ? n : items;
          }
        } else {
          items = (row->tokens + tile - 1) / tile;
        }
      }
      start[r + 1] = start[r] + items * step->shape->kv_heads;
    }
  }
  int row_of(int item) const { return int(std::upper_bound(start.begin(), start.end(), item) - start.begin()) - 1; }
};

// The schedule of the attend under way: grown once, reused by every layer of every step.
inline thread_local Schedule schedule;

template <class P, class KV>
int32_t attend(const skv_step* step, int32_t layer, const skv_exec* exec) {
  const skv_shape* shape = step->shape;
  const int heads = shape->kv_heads, g = shape->group;
  const int tile = kTileRows / g > 0 ? kTileRows / g : 1;
  const Split split(step);
  Schedule& plan = schedule;
  plan.plan<KV>(step, layer, tile);
  each(exec, plan.start[step->rows], [&](int32_t item, int32_t worker) {
    const int r = plan.row_of(item), place = plan.place[r];
    item -= plan.start[r];
    const Head<KV> h(step, step->row + r, layer, item % heads);
    const int index = item / heads;
    Scratch scratch(exec, worker);
    if (place < 0) {
      // the last tiles see the most slots: they go first
      const int tiles = (h.row->tokens + tile - 1) / tile, t0 = (tiles - 1 - index) * tile;
      return attend_tile<P>(h, t0, t0 + tile < h.row->tokens ? t0 + tile : h.row->tokens, scratch);
    }
    if (index >= segments_of(*h.length)) return;
    float* q = scratch.take<float>(kTileRows * h.dim);
    int* sees = scratch.take<int>(kTileRows);
    float* p = scratch.take<float>(kTileRows * SKV_SEGMENT);
    float* turned = scratch.take<float>(SKV_PAGE * h.dim);
    float* values = scratch.take<float>(kTileRows * h.dim);
    tile_queries(h, 0, 1, q, sees);
    Partial share[kTileRows];
    for (int i = 0; i < g; i++) share[i] = { 0, 0, values + i * h.dim };
    const bool observed = P::observes && h.row->observe1 > h.row->observe0;
    segment<P>(h, index, q, sees, g, share, p, turned, observed ? split.row_logits(place, h.head) : nullptr, split.slots);
    for (int i = 0; i < g; i++) {
      float* to = split.share(place, h.head, index, i);
      to[0] = share[i].top;
      to[1] = share[i].sum;
      memcpy(to + 2, share[i].values, h.dim * sizeof(float));
    }
  });
  // merge the segments of decode rows, in order
  each(exec, step->rows * heads, [&](int32_t item, int32_t) {
    const int r = item / heads, place = plan.place[r];
    if (place < 0) return;
    const Head<KV> h(step, step->row + r, layer, item % heads);
    for (int i = 0; i < g; i++) {
      float values[kMaxDim] = { 0 };
      Partial whole = { -INFINITY, 0, values };
      for (int seg = 0; seg < segments_of(*h.length); seg++) {
        float* from = split.share(place, h.head, seg, i);
        merge(&whole, { from[0], from[1], from + 2 }, h.dim);
      }
      finish(whole, h.dim, h.out(0) + i * h.dim, h.lse(0) + i);
    }
  });
  return 0;
}
