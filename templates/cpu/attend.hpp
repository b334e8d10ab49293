// Attention of a step's queries over their live slots, all query heads of a KV head at once.
//
// A query's arithmetic is the same in every schedule: slots are taken in segments of SKV_SEGMENT; in a segment all
// logits, their maximum, the exponentials, their sum (16 lanes, then a tree) and the weighted values in slot order;
// segments are merged in order. Prefill walks the segments of a tile of queries; decode deals them to threads and
// merges afterwards.
#pragma once
#include <algorithm>
#include <type_traits>
#include <vector>

#include "pages.hpp"

constexpr int kSegmentPages = SKV_SEGMENT / SKV_PAGE;
constexpr int kTileRows = 48;   // most query rows (tokens x group) of a tile
constexpr int kSplitRows = 64;  // most rows of a step whose segments are dealt out separately

// cos and sin of shift * frequency: two tables, for the low and the high byte of a shift, meet in one complex product.
// Larger shifts are rare (attention sinks) and computed. Each thread has its own, made when it first needs one.
class Turns {
 public:
  // Writes [half] cosines and sines.
  void at(uint32_t shift, const float* inv_freq, int half, float* cosine, float* sine) {
    if (shift >> 16) return compute(shift, inv_freq, half, cosine, sine);
    if ((int)freq_.size() != half || memcmp(freq_.data(), inv_freq, half * sizeof(float))) build(inv_freq, half);
    const float *low = row(shift & 255), *high = row(256 + (shift >> 8));
    for (int i = 0; i < half; i++) {
      cosine[i] = low[i] * high[i] - low[half + i] * high[half + i];
      sine[i] = low[half + i] * high[i] + low[i] * high[half + i];
    }
  }

 private:
  static void compute(uint32_t shift, const float* inv_freq, int half, float* cosine, float* sine) {
    for (int i = 0; i < half; i++) {
      const double angle = (double)shift * (double)inv_freq[i];
      cosine[i] = (float)__builtin_cos(angle), sine[i] = (float)__builtin_sin(angle);
    }
  }
  float* row(uint32_t i) { return table_.data() + i * 2 * freq_.size(); }
  void build(const float* inv_freq, int half) {
    freq_.assign(inv_freq, inv_freq + half);
    table_.resize(512 * 2 * half);
    for (uint32_t i = 0; i < 512; i++) compute(i < 256 ? i : (i - 256) << 8, inv_freq, half, row(i), row(i) + half);
  }
  std::vector<float> freq_, table_;  // [half], [512][cos, sin][half]
};

inline thread_local Turns turns;

// Keys of a page as f32 [dim][16], turned by their slots' shifts: positions as if evicted tokens had never been. Angles
// are looked up a slot at a time, once for neighbours with the same shift, and transposed to lie as the keys do.
template <class KV>
void turned_keys(const Head<KV>& h, int p, const int32_t* shift, float* out) {
  const int half = h.dim / 2;
  float cosine[SKV_PAGE][kMaxDim / 2], sine[SKV_PAGE][kMaxDim / 2];
  for (int s = 0; s < SKV_PAGE; s++) {
    const int slot = p * SKV_PAGE + s < *h.length ? shift[s] : 0;  // slots that are not there hold anything
    if (s > 0 && slot == shift[s - 1]) {
      memcpy(cosine[s], cosine[s - 1], half * sizeof(float)), memcpy(sine[s], sine[s - 1], half * sizeof(float));
    } else {
      turns.at(slot, h.shape->inv_freq, half, cosine[s], sine[s]);
    }
  }
  const auto* keys = h.keys(p);
  for (int i0 = 0; i0 < half; i0 += 16) {
    f32x16 c[16], n[16];
    for (int s = 0; s < SKV_PAGE; s++) c[s] = *(const f32x16u*)(cosine[s] + i0), n[s] = *(const f32x16u*)(sine[s] + i0);
    transpose(c), transpose(n);
    for (int i = i0; i < i0 + 16 && i < half; i++) {
      f32x16 x, y;
      int a = 2 * i, b = 2 * i + 1;
      if (h.shape->rope_interleaved) {
        KV::key_pair(keys, i, &x, &y);
      } else {
        f32x16 other;
        a = i, b = i + half;
        KV::key_pair(keys, a / 2, a % 2 ? &other : &x, a % 2 ? &x : &other);
        KV::key_pair(keys, b / 2, b % 2 ? &other : &y, b % 2 ? &y : &other);
      }
      F32::put_key(out, a, x * c[i - i0] - y * n[i - i0]), F32::put_key(out, b, x * n[i - i0] + y * c[i - i0]);
    }
  }
}

// logits[r][N pages x slots] of R query rows; q [R][dim] is scaled already. With `ahead`, N pages whose keys are called
// into the cache meanwhile: pages lie scattered, the hardware cannot guess the next one.
template <class KV, int R, int N, bool kAhead>
SKV_INLINE void page_logits(const typename KV::Word* const* keys, const float* q, int dim, float* logits, int stride,
                            const uint8_t* const* ahead) {
  constexpr int kBytes = 32 * sizeof(typename KV::Word);  // of a page's keys, per pair of dims
  f32x16 acc[R][N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) acc[r][n] = splat(0);
  for (int j = 0; j < dim / 2; j++) {
    f32x16 even[N], odd[N];
    for (int n = 0; n < N; n++) {
      if (kAhead)
        for (int b = 0; b < kBytes; b += 64) __builtin_prefetch(ahead[n] + j * kBytes + b);
      KV::key_pair(keys[n], j, &even[n], &odd[n]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const f32x16 a = splat(q[r * dim + 2 * j]), b = splat(q[r * dim + 2 * j + 1]);
      for (int n = 0; n < N; n++) acc[r][n] = fma(even[n], a, acc[r][n]);
      for (int n = 0; n < N; n++) acc[r][n] = fma(odd[n], b, acc[r][n]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) *(f32x16*)(logits + (int64_t)r * stride + n * SKV_PAGE) = acc[r][n];
}

template <int n>
using Count = std::integral_constant<int, n>;

// The same for any number of rows, in blocks that fit the registers.
template <class KV, int N>
SKV_INLINE void rows_logits(const typename KV::Word* const* keys, const float* q, int rows, int dim, float* logits,
                            int stride) {
  int r = 0;
  auto block = [&](auto R) {
    for (; r + R <= rows; r += R)
      page_logits<KV, R, N, false>(keys, q + r * dim, dim, logits + (int64_t)r * stride, stride, nullptr);
  };
  block(Count<12>()), block(Count<6>()), block(Count<3>()), block(Count<1>());
}

// The same for the few rows of one decode query, whose first pass brings the next pages.
template <class KV, int N>
SKV_INLINE void decode_logits(const typename KV::Word* const* keys, const float* q, int rows, int dim, float* logits,
                              int stride, const uint8_t* const* ahead) {
  auto block = [&](auto R) {
    page_logits<KV, R, N, true>(keys, q, dim, logits, stride, ahead);
    if (R < rows) rows_logits<KV, 1>(keys, q + R * dim, rows - R, dim, logits + R * stride, stride);
    for (int n = 1; R < rows && n < N; n++)
      rows_logits<KV, 1>(keys + n, q + R * dim, rows - R, dim, logits + R * stride + n * SKV_PAGE, stride);
  };
  if (rows == 1) return block(Count<1>());
  if (rows == 2) return block(Count<2>());
  if (rows == 3) return block(Count<3>());
  block(Count<4>());
}

// Whether a live slot of page p is shifted.
template <class P, class KV>
SKV_INLINE bool is_shifted(const Head<KV>& h, int p) {
  if (!P::shift_lane) return false;
  int32_t any = 0;
  for (int s = 0; s < SKV_PAGE && p * SKV_PAGE + s < *h.length; s++) any |= h.lane(p, P::shift_lane)[s];
  return any != 0;
}

// Logits of query rows for page p, whether or not its slots are shifted. turned [dim][16] is scratch.
template <class P, class KV>
[[gnu::noinline]] void logits_of(const Head<KV>& h, int p, const float* q, int rows, float* logits, int stride,
                                 float* turned) {
  if (is_shifted<P>(h, p)) {
    turned_keys(h, p, h.lane(p, P::shift_lane), turned);
    return rows_logits<F32, 1>(&turned, q, rows, h.dim, logits, stride);
  }
  const auto* keys = h.keys(p);
  rows_logits<KV, 1>(&keys, q, rows, h.dim, logits, stride);
}

// Logits of pages [page0, page0 + pages), several at a time: [row][SKV_SEGMENT].
template <class P, class KV>
[[gnu::noinline]] void segment_logits(const Head<KV>& h, int page0, int pages, const float* q, int rows, float* logits,
                                      float* turned, bool decode) {
  const int last = (*h.length - 1) / SKV_PAGE;
  int i = 0;
  auto group = [&](auto N) {
    for (; i + N <= pages; i += N) {
      const typename KV::Word* keys[N];
      const uint8_t* ahead[N];
      bool shifted = false;
      for (int n = 0; n < N; n++) {
        const int p = page0 + i + n;
        keys[n] = h.keys(p), ahead[n] = h.page(p + N < last ? p + N : last);
        shifted |= is_shifted<P>(h, p);
      }
      float* to = logits + i * SKV_PAGE;
      if (shifted)
        for (int n = 0; n < N; n++) logits_of<P>(h, page0 + i + n, q, rows, to + n * SKV_PAGE, SKV_SEGMENT, turned);
      else if (N > 1 && decode)
        decode_logits<KV, 2>(keys, q, rows, h.dim, to, SKV_SEGMENT, ahead);
      else
        rows_logits<KV, N>(keys, q, rows, h.dim, to, SKV_SEGMENT);
    }
  };
  group(Count<2>()), group(Count<1>());
}

// out[r][B * 16 dims] = sum over slots of p[r][slot] * value[slot], in slot order; with kAhead, values of the page
// after next are called into the cache.
template <class KV, int R, int B, bool kAhead>
SKV_INLINE void weigh(const Head<KV>& h, int page0, int slots, int d0, const float* p, float* out, int out_stride) {
  f32x16 acc[R][B];
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) acc[r][b] = splat(0);
  const int last = (slots - 1) / SKV_PAGE;
  for (int i = 0; i <= last; i++) {
    const auto *values = h.values(page0 + i) + d0, *ahead = h.values(page0 + (i + 2 < last ? i + 2 : last)) + d0;
    const int count = i < last ? SKV_PAGE : slots - last * SKV_PAGE;
    for (int s = 0; s < count; s++) {
      if (kAhead)
        for (int b = 0; b < B * 16; b += 64 / sizeof *ahead) __builtin_prefetch(ahead + s * h.dim + b);
      f32x16 v[B];
      for (int b = 0; b < B; b++) v[b] = KV::value(values + s * h.dim + 16 * b);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const f32x16 weight = splat(p[r * SKV_SEGMENT + i * SKV_PAGE + s]);
        for (int b = 0; b < B; b++) acc[r][b] = fma(weight, v[b], acc[r][b]);
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int b = 0; b < B; b++) *(f32x16u*)(out + (int64_t)r * out_stride + d0 + 16 * b) = acc[r][b];
}

template <class KV, int B>
SKV_INLINE void weigh_rows(const Head<KV>& h, int page0, int slots, int d0, int rows, const float* p, float* out,
                           int stride) {
  int r = 0;
  auto block = [&](auto R) {
    for (; r + R <= rows; r += R)
      weigh<KV, R, B, (B > 2)>(h, page0, slots, d0, p + r * SKV_SEGMENT, out + (int64_t)r * stride, stride);
  };
  if (B <= 2) block(Count<12>()), block(Count<6>());
  block(Count<3>()), block(Count<1>());
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

// One segment for query rows [0, rows) of which row r sees slots [0, sees[r]). Leaves shares of rows >= the returned
// first row (earlier ones see nothing of it) in part[]; raw logits go to `keep` [row][keep_stride] when it is not null.
template <class P, class KV>
[[gnu::noinline]] int segment(const Head<KV>& h, int seg, const float* q, const int* sees, int rows, Partial* part,
                              float* p, float* turned, bool decode, float* keep, int64_t keep_stride) {
  const int slot0 = seg * SKV_SEGMENT, page0 = seg * kSegmentPages;
  int first = 0;
  while (first < rows && sees[first] <= slot0) first++;
  const int most = sees[rows - 1] - slot0, slots = most < SKV_SEGMENT ? most : SKV_SEGMENT;
  const int pages = (slots + SKV_PAGE - 1) / SKV_PAGE, n = rows - first;
  segment_logits<P>(h, page0, pages, q + first * h.dim, n, p + first * SKV_SEGMENT, turned, decode);
  for (int i = 0; decode && i < 2 && i < pages; i++)  // the first values; weigh calls the others
    for (int d = 0; d < SKV_PAGE * h.dim; d += 64 / sizeof(typename KV::Word))
      __builtin_prefetch(h.values(page0 + i) + d);
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
  for (; n < 6 && d + 64 <= h.dim; d += 64)
    weigh_rows<KV, 4>(h, page0, slots, d, n, p + first * SKV_SEGMENT, out, h.dim);
  for (; d + 32 <= h.dim; d += 32) weigh_rows<KV, 2>(h, page0, slots, d, n, p + first * SKV_SEGMENT, out, h.dim);
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
    total[r] = {-INFINITY, 0, totals + r * h.dim};
    share[r] = {0, 0, shares + r * h.dim};
    memset(total[r].values, 0, h.dim * sizeof(float));
  }
  for (int seg = 0; seg < segments_of(sees[rows - 1]); seg++)
    for (int r = segment<P>(h, seg, q, sees, rows, share, p, turned, false, nullptr, 0); r < rows; r++)
      merge(&total[r], share[r], h.dim);
  for (int r = 0; r < rows; r++) finish(total[r], h.dim, h.out(t0 + r / g) + r % g * h.dim, h.lse(t0 + r / g) + r % g);
}

// Where decode keeps its segments' shares and, for a policy that observes, its logits.
//   shares [split row][kv_head][segment][group][dim + 2]    logits [split row][kv_head][group][max_slots]
struct Split {
  float *shares, *logits;
  int64_t segments, group, dim, slots, heads;
  explicit Split(const skv_step* step)
      : segments(segments_of(step->shape->max_slots)),
        group(step->shape->group),
        dim(step->shape->head_dim),
        slots(step->shape->max_slots),
        heads(step->shape->kv_heads) {
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
    for (int i = 0; i < g; i++) share[i] = {0, 0, values + i * h.dim};
    const bool observed = P::observes && h.row->observe1 > h.row->observe0;
    segment<P>(h, index, q, sees, g, share, p, turned, true, observed ? split.row_logits(place, h.head) : nullptr,
               split.slots);
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
      float values[kMaxDim] = {0};
      Partial whole = {-INFINITY, 0, values};
      for (int seg = 0; seg < segments_of(*h.length); seg++) {
        float* from = split.share(place, h.head, seg, i);
        merge(&whole, {from[0], from[1], from + 2}, h.dim);
      }
      finish(whole, h.dim, h.out(0) + i * h.dim, h.lse(0) + i);
    }
  });
  return 0;
}
