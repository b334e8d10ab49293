// Tiles of a prompt's attention in shared memory: query rows, and slots with their keys or values.
//
//   a tile's rows are words [row][Layout::row + 4]: the four words keep neighbouring rows in different banks
//   query row r of a tile that begins at token t0 is head r % group of token t0 + r / group
#pragma once
#include "mma.cuh"
#include "turn.cuh"

constexpr int kTileThreads = 128, kTileWarps = kTileThreads / 32;

template <class KV, int D>
struct TileShape {
  static constexpr int row = Layout<KV, D>::row, stride = row + 4;
  static constexpr int rows = Tiles::rows;                              // 16 a warp
  static constexpr int slots = row > 64 ? Tiles::slots / 2 : Tiles::slots;  // in prefill
  static constexpr bool queries_stay = row <= 64;  // a warp's query operands fit its registers
  static_assert(rows == 16 * kTileWarps, "each warp has one product's rows");
};

// Tokens of a tile.
SKV_BOTH int tile_tokens(int group) { return group < Tiles::rows ? Tiles::rows / group : 1; }

// Starts to copy keys (from = 0) or values (from = h.values) of `count` slots from slot0 on; slots from `end` on are 0.
template <class KV, int D>
SKV_INLINE void fetch_slots(const Head<KV, D>& h, Shared<uint32_t> tile, int from, int slot0, int count, int end) {
  using L = Layout<KV, D>;
  for (int i = threadIdx.x; i < count * L::chunks; i += kTileThreads) {
    const int slot = slot0 + i / L::chunks, chunk = i % L::chunks * 4;
    const bool there = slot < end;
    const Global<const uint32_t> page = h.page(there ? slot / SKV_PAGE : 0);
    copy_async(tile, i / L::chunks * TileShape<KV, D>::stride + chunk, page,
               from + (there ? slot % SKV_PAGE : 0) * L::row + chunk, there);
  }
}

// Turns the keys of a tile whose slots are shifted. Needs a barrier before and after.
template <class P, class KV, int D>
SKV_INLINE void turn_slots(const Head<KV, D>& h, Shared<uint32_t> tile, int slot0, int count, int end) {
  constexpr int half = Layout<KV, D>::row / 2, n = KV::per_word;
  const bool across = !h.s.rope_interleaved || n == 1;  // a pair lies in two words
  for (int i = threadIdx.x; i < count * half; i += kTileThreads) {
    const int s = i / half, slot = slot0 + s, j = i % half;
    if (slot >= end) continue;
    const int shift = (int)h.page(slot / SKV_PAGE)[h.lanes + P::shift_lane * SKV_PAGE + slot % SKV_PAGE];
    if (shift == 0) continue;
    const int a = h.s.rope_interleaved ? 2 * j : j, b = h.s.rope_interleaved ? 2 * j + 1 : j + half;
    const int at = s * TileShape<KV, D>::stride;
    float x[2][2], y[2][2];  // [word][element] before and after
    KV::decode(tile[at + a], x[0]), KV::decode(tile[at + b], x[1]);
    SKV_UNROLL for (int w = 0; w < 2; w++)
      SKV_UNROLL for (int e = 0; e < n; e++) {
        bool first;
        float c, sine;
        const int f = frequency_of(h.s.rope_interleaved, (w ? b : a) * n + e, D, &first);
        turn_of(shift, global(h.s.inv_freq)[f], &c, &sine);
        y[w][e] = turned(x[w][e], across ? x[1 - w][e] : x[w][n - 1 - e], first, c, sine);
      }
    tile[at + a] = KV::encode(y[0]), tile[at + b] = KV::encode(y[1]);
  }
}

// Queries of tokens [t0, t1), scaled, then rounded to the keys' type, as every target does; rows that are not there are 0.
template <class KV, int D>
SKV_INLINE void load_queries(const Head<KV, D>& h, Shared<uint32_t> tile, int t0, int t1) {
  using L = Layout<KV, D>;
  for (int i = threadIdx.x; i < Tiles::rows * L::row / 2; i += kTileThreads) {
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

// A warp's query operands for elements d … d + 15.
template <class KV, int D>
SKV_INLINE void query_operand(Pair<KV>* a, Shared<const uint32_t> queries, int d) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, row0 = threadIdx.x / 32 * 16;
  SKV_UNROLL for (int r = 0; r < 4; r++)
    a[r] = pair_at<KV>(queries + (row0 + g + r % 2 * 8) * TileShape<KV, D>::stride, d + r / 2 * 8 + 2 * t);
}

// Adds elements d … d + 15 to the raw logits of a warp's rows and N x 8 slots.
template <class KV, int D, int N>
SKV_INLINE void add_logits(float (*x)[4], const Pair<KV>* a, Shared<const uint32_t> keys, int d) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  SKV_UNROLL for (int n = 0; n < N; n++) {
    const Shared<const uint32_t> row = keys + (n * 8 + g) * TileShape<KV, D>::stride;
    const Pair<KV> b[2] = {pair_at<KV>(row, d + 2 * t), pair_at<KV>(row, d + 8 + 2 * t)};
    multiply<KV>(x[n], a, b);
  }
}
