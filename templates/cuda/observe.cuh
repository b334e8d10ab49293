// observe: what a prompt chunk's attention does to states. A block owns a tile of slots; it walks the observed queries
// in order, a tile of query rows at a time: computes their logits once more, the same products as prefill's, then each
// slot's thread runs `next` once per query with p = exp(logit - lse).
//
//   grid (slot tiles, kv_heads, rows), 128 threads; a slot has one thread, or sixteen where `next` reads vectors
//   q [token][query head][dim], lse [token][query head], keys [slot][dim], states [state][slot] -> states
//   flops: 2 d per query row and visible slot on tensor cores, and about 7 + next per logit; bytes: d b + 8 a state per
//   slot (d dims, b bytes of an element). Bound by arithmetic: the products, at 32 rows and half the slots a warp, and
//   what follows them.
#pragma once
#include "accumulate.cuh"
#include "tile.cuh"

template <class KV, int D>
SKV_BOTH constexpr int observe_slots() {
  return 2 * TileShape<KV, D>::slots;
}

constexpr int kObserveRows = 16 * kTileWarps;  // of a tile of queries

template <class KV, int D>
SKV_BOTH constexpr int observe_shared() {
  constexpr int slots = observe_slots<KV, D>(), rows = kObserveRows;
  const int queries = rows * TileShape<KV, D>::stride, logits = rows * (slots + 4);
  return (slots * TileShape<KV, D>::stride + (queries > logits ? queries : logits) + rows) * 4;
}

// A warp's logits to shared memory, [query row][wide] as the bits of f32: rows from row0 on, slots from slot1 on.
template <int N>
SKV_INLINE void store_logits(Shared<uint32_t> logits, float (*x)[N][4], int row0, int slot1, int wide) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  SKV_UNROLL for (int m = 0; m < 2; m++)
    SKV_UNROLL for (int n = 0; n < N; n++)
      SKV_UNROLL for (int i = 0; i < 4; i++)
        logits[(row0 + m * 16 + g + i / 2 * 8) * wide + slot1 + n * 8 + 2 * t + i % 2] = F32::encode(&x[m][n][i]);
}

// `next` of one slot for the queries [q0, q1) of the row, in order. attn(q, v): the slot's attention by vote v of query q,
// when `before` slots were there before the row's.
template <class P, class KV, int D, class Attn>
SKV_INLINE void observe_slot(const Head<KV, D>& h, int slot, int q0, int q1, int before, const Params& params, Attn attn) {
  const Global<uint32_t> page = h.page(slot / SKV_PAGE);
  const int at = slot % SKV_PAGE;
  Vec key, value;
  if (P::next_reads_key) key = read_vec<KV, D>(page, 0, at);
  if (P::next_reads_value) value = read_vec<KV, D>(page, h.values, at);
  float states[P::states + 1];
  read_states<P>(h, page, at, states);
  for (int q = q0; q < q1; q++)
    advance<P>(h, page, at, h.row.pos0 + q, before + q + 1, [&](int v) -> float { return attn(q, v); }, &key, &value,
               params, states);
  if (next_lanes<P>() > 1) __syncwarp(vec_mask());  // all lanes have read
  if (next_lanes<P>() == 1 || vec_lane() == 0) write_states<P>(h, page, at, states);
}

template <class P, class KV, int D>
__global__ void __launch_bounds__(kTileThreads, 2) observe_kernel(Step s) {
  using T = TileShape<KV, D>;
  constexpr int slots = observe_slots<KV, D>(), N = slots / 8, wide = slots + 4, lanes = next_lanes<P>();
  const skv_row row = load_row(s, blockIdx.z);
  if (row.policy != s.self || is_decode(row) || row.observe1 <= row.observe0) return;
  // the first slots, which most queries see, go first, those of all heads side by side
  const int nth = blockIdx.y * gridDim.x + blockIdx.x;
  const Head<KV, D> h(s, row, s.layer, nth % s.kv_heads);
  const int before = h.live - row.tokens, slot0 = nth / s.kv_heads * slots, last = row.observe1 - row.pos0;
  const int first = max(row.observe0 - row.pos0, slot0 - before);  // earlier queries see nothing of this tile
  const int end = smaller(before + last, slot0 + slots);           // nobody observed sees later slots
  if (slot0 >= end) return;

  Arena arena;
  // queries, then, in their place, logits
  const Shared<uint32_t> queries = arena.take<uint32_t>(kObserveRows * max(T::stride, wide), "queries"), logits = queries;
  const Shared<uint32_t> keys = arena.take<uint32_t>(slots * T::stride, "keys");
  const Shared<float> lse = arena.take<float>(kObserveRows, "lse");
  const Params params(s.params + (int64_t)row.seq * SKV_MAX_PARAMS);
  fetch_slots<slots>(h, keys, 0, slot0, end);
  commit_async();
  wait_async<0>();
  __syncthreads();
  if (P::shift_lane && s.inv_freq) rotate_slots<P>(h, keys, slot0, slots, end);

  const int warp = threadIdx.x / 32;
  const int row0 = warp % 2 * 32, slot1 = warp / 2 * (slots / 2);  // a warp's half of the rows and of the slots
  const int tokens = tile_tokens(kObserveRows, s.group);
  SKV_LOOP for (int t0 = first; t0 < last; t0 += tokens) {
    const int t1 = smaller(t0 + tokens, last);
    load_queries(h, queries, kObserveRows, t0, t1);
    for (int r = threadIdx.x; r < (t1 - t0) * s.group; r += kTileThreads)
      lse[r] = global(s.lse)[h.query(t0 + r / s.group) + r % s.group];
    __syncthreads();
    float x[2][N / 2][4];
    logits_of<KV, D, 2, N / 2>(x, queries, row0, keys + slot1 * T::stride);
    cap_logits<2>(s, x);
    __syncthreads();  // everybody has read the queries
    store_logits(logits, x, row0, slot1, wide);
    __syncthreads();
    for (int i = threadIdx.x / lanes; i < slots && slot0 + i < end; i += kTileThreads / lanes) {
      auto attn = [&](int q, int v) {
        const int r = (q - t0) * s.group;
        return group_attn<P>(
            s.group, v, [&](int k) -> float { return skv_float((int32_t)(uint32_t)logits[(r + k) * wide + i]); },
            [&](int k) -> float { return lse[r + k]; });
      };
      // from the first query that sees the slot
      observe_slot<P>(h, slot0 + i, max(t0, slot0 + i - before), t1, before, params, attn);
    }
    __syncthreads();
  }
}
