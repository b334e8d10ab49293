// attend, prompts: a tile of query rows (tokens x query heads of the KV head) walks the slots it may see, tile by tile,
// with a running softmax. Logits, weights and values stay in registers; keys and values come through shared memory, the
// next tile's under way while this one is multiplied.
//
//   grid (row tiles, kv_heads, rows), 128 threads, 4 warps of 16 rows; the last tiles, which see most, go first
//   A row's arithmetic depends on the slots it sees alone: the same bits in every chunking of the prompt.
//
//   flops: 4 d per row and visible slot, on tensor cores; bytes: 2 d b per slot and row tile, from L2 after the first.
//   Bound by arithmetic; two words from shared memory a product are the next bound.
#pragma once
#include "tile.cuh"

template <class KV, int D>
SKV_BOTH constexpr int prefill_shared() {
  using T = TileShape<KV, D>;
  return (T::rows + 4 * T::slots) * T::stride * 4 + 64;
}

template <class P, class KV, int D>
__global__ void __launch_bounds__(kTileThreads) prefill_kernel(Step s) {
  using T = TileShape<KV, D>;
  constexpr int N = T::slots / 8, K = D / 16;
  const skv_row row = load_row(s, blockIdx.z);
  const int tokens = tile_tokens(s.group), tile = gridDim.x - 1 - blockIdx.x, t0 = tile * tokens;
  if (row.policy != s.self || is_decode(row) || t0 >= row.tokens) return;
  const Head<KV, D> h(s, row, s.layer, blockIdx.y);
  const int t1 = smaller(t0 + tokens, row.tokens), before = h.live - row.tokens, end = before + t1;

  Arena arena;
  const Shared<uint32_t> queries = arena.take<uint32_t>(T::rows * T::stride, "queries");
  const Shared<uint32_t> keys = arena.take<uint32_t>(2 * T::slots * T::stride, "keys");
  const Shared<uint32_t> values = arena.take<uint32_t>(2 * T::slots * T::stride, "values");
  auto fetch = [&](int slot0, int half) {
    fetch_slots(h, keys + half * T::slots * T::stride, 0, slot0, T::slots, end);
    fetch_slots(h, values + half * T::slots * T::stride, h.values, slot0, T::slots, end);
    commit_async();
  };
  fetch(0, 0);
  load_queries(h, queries, t0, t1);
  __syncthreads();

  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, row0 = threadIdx.x / 32 * 16;
  Pair<KV> kept[T::queries_stay ? K : 1][4];
  if (T::queries_stay)
    SKV_UNROLL for (int k = 0; k < (T::queries_stay ? K : 1); k++) query_operand<KV, D>(kept[k], queries, k * 16);
  int sees[2];  // of rows g and g + 8: slots; 0 where there is no row
  SKV_UNROLL for (int i = 0; i < 2; i++) {
    const int token = t0 + (row0 + g + 8 * i) / s.group;
    sees[i] = token < t1 ? before + token + 1 : 0;
  }
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0}, out[D / 8][4];
  SKV_UNROLL for (int n = 0; n < D / 8; n++)
    SKV_UNROLL for (int i = 0; i < 4; i++) out[n][i] = 0;

  SKV_LOOP for (int slot0 = 0, half = 0; slot0 < end; slot0 += T::slots, half ^= 1) {
    if (slot0 + T::slots < end) {
      fetch(slot0 + T::slots, half ^ 1);
      wait_async<1>();
    } else {
      wait_async<0>();
    }
    __syncthreads();
    const Shared<uint32_t> k_tile = keys + half * T::slots * T::stride, v_tile = values + half * T::slots * T::stride;
    if (P::shift_lane) {
      turn_slots<P>(h, k_tile, slot0, T::slots, end);
      __syncthreads();
    }
    float x[N][4];  // logits, then weights
    SKV_UNROLL for (int n = 0; n < N; n++)
      SKV_UNROLL for (int i = 0; i < 4; i++) x[n][i] = 0;
    SKV_UNROLL for (int k = 0; k < K; k++) {
      if (T::queries_stay) {
        add_logits<KV, D, N>(x, kept[T::queries_stay ? k : 0], k_tile, k * 16);
      } else {
        Pair<KV> a[4];
        query_operand<KV, D>(a, queries, k * 16);
        add_logits<KV, D, N>(x, a, k_tile, k * 16);
      }
    }
    if (slot0 + T::slots > before + t0 + 1)  // the causal edge, or the end
      SKV_UNROLL for (int n = 0; n < N; n++)
        SKV_UNROLL for (int i = 0; i < 4; i++)
          if (slot0 + n * 8 + 2 * t + i % 2 >= sees[i / 2]) x[n][i] = -INFINITY;
    SKV_UNROLL for (int i = 0; i < 2; i++) {
      float best = top[i];
      SKV_UNROLL for (int n = 0; n < N; n++) best = fmaxf(best, fmaxf(x[n][2 * i], x[n][2 * i + 1]));
      best = fmaxf(best, __shfl_xor_sync(kFull, best, 1));
      best = fmaxf(best, __shfl_xor_sync(kFull, best, 2));
      const float base = best == -INFINITY ? 0.0f : best * kLog2e;  // nothing seen yet: every weight is 0
      // exactly 1 where nothing changes: a row's bits must not depend on tiles that it does not see
      const float scale = top[i] == best ? 1.0f : exp2_fast((top[i] - best) * kLog2e);
      top[i] = best, sum[i] *= scale;
      SKV_UNROLL for (int n = 0; n < D / 8; n++) out[n][2 * i] *= scale, out[n][2 * i + 1] *= scale;
      SKV_UNROLL for (int n = 0; n < N; n++)
        SKV_UNROLL for (int e = 2 * i; e < 2 * i + 2; e++) {
          x[n][e] = exp2_fast(fmaf(x[n][e], kLog2e, -base));
          sum[i] += x[n][e];
        }
    }
    SKV_UNROLL for (int j = 0; j < N / 2; j++) {  // 16 slots
      const Pair<KV> a[4] = {pair_of<KV>(x[2 * j][0], x[2 * j][1]), pair_of<KV>(x[2 * j][2], x[2 * j][3]),
                             pair_of<KV>(x[2 * j + 1][0], x[2 * j + 1][1]), pair_of<KV>(x[2 * j + 1][2], x[2 * j + 1][3])};
      SKV_UNROLL for (int n = 0; n < D / 8; n += 2) {
        Pair<KV> b[4];
        load_turned<KV>(b, v_tile, T::stride, j * 16, n * 8);
        multiply<KV>(out[n], a, b), multiply<KV>(out[n + 1], a, b + 2);
      }
    }
    __syncthreads();
  }
  SKV_UNROLL for (int i = 0; i < 2; i++) {
    sum[i] += __shfl_xor_sync(kFull, sum[i], 1);
    sum[i] += __shfl_xor_sync(kFull, sum[i], 2);
    const int r = row0 + g + 8 * i, token = t0 + r / s.group;
    if (token >= t1) continue;
    const int64_t query = h.query(token) + r % s.group;
    SKV_UNROLL for (int n = 0; n < D / 8; n++) {
      const float pair[2] = {out[n][2 * i] / sum[i], out[n][2 * i + 1] / sum[i]};
      store_pair(s, global(s.out), query * D + n * 8 + 2 * t, pair);
    }
    if (t == 0) global(s.lse)[query] = top[i] + skv_log(sum[i]);
  }
}
