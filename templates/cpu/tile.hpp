// Attention of a tile of query rows to one segment of their slots, and the merge of segments.
//
//   q [row][dim / 2] pairs, scaled and rounded as the keys are -> partials of the segment: max, sum [row], out
//   [row][dim]
//
// A row's arithmetic is the same in every schedule: slots are taken in segments of SKV_SEGMENT; in a segment all
// logits, their maximum, the exponentials, their sum (16 lanes, then a tree) and the weighted values in slot order;
// segments are merged in order. Bound by arithmetic in prefill, per row and slot 2 dim multiply-adds in pairs and one
// exponential, and by reading pages in decode.
#pragma once
#include "scratch.hpp"

// Rows that go from logits to weighted values together.
template <class KV>
constexpr int kBlockRows = KV::kAmx ? kAmxRows : 24;

// Where there are no tiles of AMX.
struct NoShapes {
  void shape(int) const {}
};

// A worker's buffers for one tile, and the shapes of AMX's.
template <class KV>
struct Tile : std::conditional_t<KV::kAmx, AmxShapes, NoShapes> {
  typename KV::Multiplier* q;  // [kTileRows][dim / 2] scaled queries
  int *from, *visible;         // [kTileRows] a row sees slots [from, visible); both rise from row to row
  float* logits;               // [kBlockRows][SKV_SEGMENT]
  typename KV::Multiplier* p;  // [kSegmentPages][kBlockRows][kPagePairs] their exponentials
  typename KV::Word* rotated;  // a page's keys
  Partials total, segment;     // of all segments so far, and of one
  Tile(Scratch* scratch, int dim) {
    q = scratch->take<typename KV::Multiplier>(kTileRows * dim / 2);
    from = scratch->take<int>(kTileRows);
    visible = scratch->take<int>(kTileRows);
    logits = scratch->take<float>(kBlockRows<KV> * SKV_SEGMENT);
    p = scratch->take<typename KV::Multiplier>(kSegmentPages * kBlockRows<KV> * kPagePairs);
    rotated = scratch->take<typename KV::Word>(SKV_PAGE * dim);
    for (Partials* each : {&total, &segment}) {
      each->max = scratch->take<float>(kTileRows);
      each->sum = scratch->take<float>(kTileRows);
      each->out = scratch->take<float>(kTileRows * dim);
    }
  }
  // Bytes, of the widest type.
  static int64_t bytes(int dim) {
    return 4 * ((int64_t)kTileRows * (3 * dim + 6) + 2 * kBlockRows<F32> * SKV_SEGMENT + SKV_PAGE * dim) + 12 * 64;
  }
};

// Fills q, from and visible for tokens [t0, t1), row (t - t0) * group + g; returns the number of rows.
template <class KV>
int load_queries(const Head<KV>& h, int t0, int t1, const Tile<KV>& tile) {
  const int g = h.shape->group, half = h.dim / 2, before = *h.length - h.row->tokens;
  const f32xN scale = splat<f32xN>(h.shape->scale);
  for (int t = t0; t < t1; t++)
    for (int i = 0; i < g; i++) {
      const int r = (t - t0) * g + i;
      const float* from = h.query(t) + i * h.dim;
      for (int d = 0; d < h.dim; d += kRegister)
        KV::pack(*(const f32xNu*)(from + d) * scale, tile.q + r * half + d / 2);
      tile.visible[r] = before + t + 1;
      tile.from[r] = h.first_slot(before + t + 1);
    }
  return (t1 - t0) * g;
}

// tanh(x): odd powers where 1 - e^-2x would cancel, and elsewhere that.
SKV_INLINE f32x16 tanh16(f32x16 x) {
  const f32x16 size = x < splat(0) ? -x : x, square = x * x, e = exp_of(splat(-2.0f) * size);
  f32x16 p = splat(2.18694885e-2f);
  p = fma(p, square, splat(-5.39682540e-2f));
  p = fma(p, square, splat(1.33333333e-1f));
  p = fma(p, square, splat(-3.33333333e-1f));
  const f32x16 small = fma(p * square, x, x), large = (splat(1.0f) - e) / (splat(1.0f) + e);
  return size < splat(0.25f) ? small : x < splat(0) ? -large : large;
}

// Logits x of whole pages become cap * tanh(x / cap).
SKV_INLINE void cap_logits(float* x, int pages, float cap) {
  for (int i = 0; i < pages; i++) {
    auto& at = *(f32x16*)(x + i * SKV_PAGE);
    at = splat(cap) * tanh16(at * splat(1.0f / cap));
  }
}

// A row's largest logit; slots outside [from, visible) are made to count nothing.
SKV_INLINE float max_logit(float* x, int from, int visible, int pages) {
  for (int s = 0; s < from; s++) x[s] = -INFINITY;
  for (int s = visible; s < pages * SKV_PAGE; s++) x[s] = -INFINITY;
  f32xN max[kRegisters], other[kRegisters];
  for (int n = 0; n < kRegisters; n++) max[n] = other[n] = splat<f32xN>(-INFINITY);
  auto take = [&](f32xN* most, int i) SKV_FLAT {
    for (int n = 0; n < kRegisters; n++) most[n] = larger(*(f32xN*)(x + i * SKV_PAGE + n * kRegister), most[n]);
  };
  for (int i = 0; i < pages; i++) {
    take(max, i);
    if (++i < pages) take(other, i);
  }
  for (int n = 0; n < kRegisters; n++) max[n] = larger(max[n], other[n]);
  return max_of(max);
}

// exp(logit - max) of a row's logits x, as pairs of each page, `pitch` pairs apart; returns their sum.
template <class KV>
SKV_INLINE float exponentials(const float* x, float max, int from, int visible, int pages, typename KV::Multiplier* p,
                              int pitch) {
  f32xN sum[kRegisters] = {};
  const f32xN largest = splat<f32xN>(max);
  for (int i = 0; i < pages; i++)
    for (int n = 0; n < kRegisters; n++) {
      const f32xN at = *(f32xN*)(x + i * SKV_PAGE + n * kRegister);
      f32xN e = exp_of(at - largest);
      if (((i + 1) * SKV_PAGE > visible) | (i * SKV_PAGE < from)) e = at > -INFINITY ? e : f32xN{};
      sum[n] += e;
      KV::pack(e, p + (int64_t)i * pitch + n * kRegister / 2);
    }
  return sum_of(sum);
}

// Rows [first, end) of a tile.
struct RowRange {
  int first, end;
};

// One segment for the tile's first `rows` rows: its pages from cursor.page0 up to page1. Leaves partials of the rows
// that are returned (earlier ones see nothing of it, later ones nothing any more), and the exponentials in `observed`
// unless it is null. weighs: the values are weighed by them. With kPrefetch the first block prefetches the pages that
// follow.
template <class KV, bool kPrefetch>
RowRange attend_segment(const Head<KV>& h, const PageCursor<KV>& segment, int page1, int rows, const Tile<KV>& tile,
                        const Partials& partials, bool weighs, const Probabilities<KV>* observed, int shift_lane) {
  RowRange sees = {0, rows};
  while (sees.first < rows && tile.visible[sees.first] <= segment.page0 * SKV_PAGE) sees.first++;
  while (sees.end > sees.first && tile.from[sees.end - 1] >= page1 * SKV_PAGE) sees.end--;
  for (int r0 = sees.first; r0 < sees.end; r0 += kBlockRows<KV>) {
    const int n = std::min(sees.end - r0, kBlockRows<KV>);
    const PageCursor<KV> cursor = segment.from_page(tile.from[r0] / SKV_PAGE);
    const int slot0 = cursor.page0 * SKV_PAGE, slots = std::min(tile.visible[r0 + n - 1], page1 * SKV_PAGE) - slot0;
    const int pages = pages_of(slots), pitch = (observed ? observed->rows : kBlockRows<KV>)*kPagePairs;
    const auto* q = tile.q + r0 * h.dim / 2;
    const bool ahead = kPrefetch && r0 == sees.first;
    const auto logits = shift_lane ? ahead ? segment_logits<KV, kPrefetch, true> : segment_logits<KV, false, true>
                        : ahead    ? segment_logits<KV, kPrefetch, false>
                                   : segment_logits<KV, false, false>;
    tile.shape(n);
    logits(h, cursor, pages, q, n, tile.logits, shift_lane, tile.rotated);
    int from[kBlockRows<KV>], visible[kBlockRows<KV>];  // of these slots
    for (int i = 0; i < n; i++) {
      float* x = tile.logits + i * SKV_SEGMENT;
      from[i] = tile.from[r0 + i] - slot0;
      visible[i] = std::min(tile.visible[r0 + i] - slot0, slots);
      if (h.shape->soft_cap > 0) cap_logits(x, pages, h.shape->soft_cap);
      partials.max[r0 + i] = max_logit(x, from[i], visible[i], pages);
    }
    auto* p = observed ? observed->pairs(cursor.page0, r0) : tile.p;
    for (int i = 0, r = r0; i < n; i++, r++) {
      const float* x = tile.logits + i * SKV_SEGMENT;
      partials.sum[r] = exponentials<KV>(x, partials.max[r], from[i], visible[i], pages, p + i * kPagePairs, pitch);
      if (observed) *observed->factor(cursor.page0 / kSegmentPages, r) = partials.max[r];
    }
    if (!weighs) continue;
    float* out = partials.out + r0 * h.dim;
    ahead ? segment_values<KV, kPrefetch>(h, cursor, slots, n, p, pitch, out, h.dim)
          : segment_values<KV, false>(h, cursor, slots, n, p, pitch, out, h.dim);
  }
  return sees;
}

// Partials of no slots.
SKV_INLINE void clear(const Partials& total, int rows, int dim) {
  std::fill_n(total.max, rows, -INFINITY);
  std::fill_n(total.sum, rows, 0.0f);
  std::fill_n(total.out, rows * dim, 0.0f);
}

// Adds a segment's partials of some rows, 16 rows at a time; of others in between, anything may be read.
SKV_INLINE void merge(const Partials& total, const Partials& segment, RowRange rows, int dim) {
  for (int r0 = rows.first / 16 * 16; r0 < rows.end; r0 += 16) {
    const auto old = *(f32x16u*)(total.max + r0), sum = *(f32x16u*)(total.sum + r0);
    const f32x16 next = *(f32x16u*)(segment.max + r0), max = larger(next, old);
    const f32x16 a = exp_of(old - max), b = exp_of(next - max);
    const i32x16 adds = first_lanes(rows.end - r0) & ~first_lanes(rows.first - r0);
    *(f32x16u*)(total.max + r0) = adds ? max : old;
    *(f32x16u*)(total.sum + r0) = adds ? sum * a + *(f32x16u*)(segment.sum + r0) * b : sum;
    for (int r = std::max(rows.first, r0); r < std::min(rows.end, r0 + 16); r++)
      for (int d = 0; d < dim; d++)
        total.out[r * dim + d] = total.out[r * dim + d] * a[r - r0] + segment.out[r * dim + d] * b[r - r0];
  }
}

// A row's attention output [dim] and LSE.
SKV_INLINE void normalise(const Partials& total, int r, int dim, float* out, float* lse) {
  const float factor = 1.0f / total.sum[r];
  for (int d = 0; d < dim; d++) out[d] = total.out[r * dim + d] * factor;
  *lse = total.max[r] + skv_log(total.sum[r]);
}
