// Tiles of a prompt's attention in shared memory: query rows, and slots with their keys or values.
//
//   a tile is words [row][Layout::row + 4]: the four words keep neighbouring rows in different banks
//   query row r of a tile that begins at token t0 is head r % group of token t0 + r / group
//   a warp's logits [M][N][4] are the c operands of M x 16 query rows by N x 8 slots (mma.cuh)
#pragma once
#include "mma.cuh"
#include "rotate.cuh"

constexpr int kTileThreads = 128, kTileWarps = kTileThreads / 32;

template <class KV, int D>
struct TileShape {
  static constexpr int row = Layout<KV, D>::row, stride = row + 4;
  static constexpr bool wide = KV::per_word == 1 || D > 128;  // the registers hold half as much
  static constexpr int products = wide ? 1 : 2;               // of 16 rows, that a warp has in prefill
  static constexpr int rows = 16 * kTileWarps * products;
  static constexpr int slots = wide ? Tiles::slots / 2 : Tiles::slots;
  static_assert(rows == (wide ? Tiles::rows / 2 : Tiles::rows), "the plan's tiles are what four warps have");
};

// Tokens of a tile of query rows.
SKV_BOTH constexpr int tile_tokens(int rows, int group) { return group < rows ? rows / group : 1; }

// Starts to copy keys (from = 0) or values (from = h.values) of `count` slots from slot0 on, a multiple of a page;
// slots from `end` on are 0, those before the first are any that are there.
template <int count, class KV, int D>
SKV_INLINE void fetch_slots(const Head<KV, D>& h, Shared<uint32_t> tile, int from, int slot0, int end) {
  using L = Layout<KV, D>;
  constexpr int lanes = L::quads <= 8 ? 8 : L::quads <= 16 ? 16 : L::quads <= 32 ? 32 : 64;  // of a slot
  constexpr int at_once = kTileThreads / lanes;                                              // slots, of one page
  static_assert(L::quads <= 64 && at_once <= SKV_PAGE && count % SKV_PAGE == 0,
                "what is copied at once lies in one page");
  const int quad = threadIdx.x % lanes, mine = threadIdx.x / lanes;
  int32_t number[count / SKV_PAGE];  // looked up together: a copy that is under way lets no look-up pass
  SKV_UNROLL for (int p = 0; p < count / SKV_PAGE; p++)
    number[p] = h.table[slot0 + p * SKV_PAGE < end ? max(slot0 / SKV_PAGE + p, 0) : 0];
  if (quad < L::quads)
    SKV_UNROLL for (int i = 0; i < count; i += at_once) {
      const bool there = slot0 + i + mine < end;
      copy_async(tile, (i + mine) * TileShape<KV, D>::stride + quad * 4, h.numbered(number[i / SKV_PAGE]),
                 from + (i % SKV_PAGE + mine) * L::row + quad * 4, there);
    }
}

// Rotates the keys of a tile whose slots are shifted. Needs a barrier before and after.
template <class P, class KV, int D>
SKV_INLINE void rotate_slots(const Head<KV, D>& h, Shared<uint32_t> tile, int slot0, int count, int end) {
  constexpr int half = Layout<KV, D>::row / 2, n = KV::per_word;
  const bool across = !h.s.rope_interleaved || n == 1;  // a pair lies in two words
  for (int i = threadIdx.x; i < count * half; i += kTileThreads) {
    const int s = i / half, slot = slot0 + s, j = i % half;
    if (slot >= end) continue;
    const int shift = (int)h.page(slot / SKV_PAGE)[h.lanes + P::shift_lane * SKV_PAGE + slot % SKV_PAGE];
    if (shift == 0) continue;
    const int a = h.s.rope_interleaved ? 2 * j : j, b = h.s.rope_interleaved ? 2 * j + 1 : j + half;
    const int at = s * TileShape<KV, D>::stride;
    float x[2][2];  // [word][element]
    KV::decode(tile[at + a], x[0]);
    KV::decode(tile[at + b], x[1]);
    const Global<const float> inv_freq = global(h.s.inv_freq);
    SKV_UNROLL for (int e = 0; e < n; e++)
      if (across) rotate_pair(&x[0][e], &x[1][e], shift, inv_freq[h.s.rope_interleaved ? j : a * n + e]);
      else rotate_pair(&x[e][0], &x[e][1], shift, inv_freq[e ? b : a]);
    tile[at + a] = KV::encode(x[0]);
    tile[at + b] = KV::encode(x[1]);
  }
}

// Queries of tokens [t0, t1) as `rows` rows, scaled, then rounded to the keys' type, as every target does; rows that are
// not there are 0.
template <class KV, int D>
SKV_INLINE void load_queries(const Head<KV, D>& h, Shared<uint32_t> tile, int rows, int t0, int t1) {
  using L = Layout<KV, D>;
  for (int i = threadIdx.x; i < rows * L::row / 2; i += kTileThreads) {
    const int r = i / (L::row / 2), word = i % (L::row / 2) * 2, t = t0 + r / h.s.group;
    float x[4] = {0, 0, 0, 0};  // of two words
    if (t < t1)
      SKV_UNROLL for (int e = 0; e < 2 * KV::per_word; e += 2)
        load_pair(h.s, global(h.s.q), (h.query(t) + r % h.s.group) * D + word * KV::per_word + e, x + e);
    SKV_UNROLL for (int e = 0; e < 4; e++) x[e] *= h.s.scale;
    tile[r * TileShape<KV, D>::stride + word] = KV::encode(x);
    tile[r * TileShape<KV, D>::stride + word + 1] = KV::encode(x + KV::per_word);
  }
}

// Logits x that a model caps, when it does.
template <int M, int N>
SKV_INLINE void cap_logits(const Step& s, float (*x)[N][4]) {
  if (s.soft_cap > 0)
    SKV_UNROLL for (int m = 0; m < M; m++)
      SKV_UNROLL for (int n = 0; n < N; n++)
        SKV_UNROLL for (int i = 0; i < 4; i++) x[m][n][i] = capped(x[m][n][i], s.soft_cap);
}

// Raw logits of a warp's M x 16 rows from row0 on and the first 8 N slots of `keys`.
template <class KV, int D, int M, int N>
SKV_INLINE void logits_of(float (*x)[N][4], Shared<const uint32_t> queries, int row0, Shared<const uint32_t> keys) {
  constexpr int stride = TileShape<KV, D>::stride;
  SKV_UNROLL for (int m = 0; m < M; m++)
    SKV_UNROLL for (int n = 0; n < N; n++)
      SKV_UNROLL for (int i = 0; i < 4; i++) x[m][n][i] = 0;
  SKV_UNROLL_4 for (int d = 0; d < D; d += 16) {
    Pair<KV> a[M][4];
    SKV_UNROLL for (int m = 0; m < M; m++) load_operand<KV>(a[m], queries, stride, row0 + 16 * m, d);
    SKV_UNROLL for (int n = 0; n < N; n += 2) {
      Pair<KV> b[4];
      load_operand<KV>(b, keys, stride, n * 8, d);
      SKV_UNROLL for (int m = 0; m < M; m++) {
        multiply<KV>(x[m][n], a[m], b[0], b[2]);
        multiply<KV>(x[m][n + 1], a[m], b[1], b[3]);
      }
    }
  }
}
