// attend, prompts: a tile of query rows (tokens x query heads of the KV head) walks the slots it may see, tile by tile,
// with a running softmax. Logits, weights and values stay in registers; keys and values come through shared memory: a
// tile's values while its logits are computed, the next tile's keys while its values are added.
//
//   grid (row tiles, kv_heads, rows), 128 threads, 4 warps of 32 rows (16 of wide heads)
//   A row's arithmetic depends on the slots it sees alone: the same bits in every chunking of the prompt.
//
//   flops: 4 d per row and visible slot, on tensor cores; bytes: 2 d b per slot and row tile, from L2 after the first.
//   Bound by arithmetic: at 32 rows a warp shared memory gives 160 bytes for each product (16 x 8 x 16).
#pragma once
#include "tile.cuh"

template <class KV, int D>
SKV_BOTH constexpr int prefill_shared() {
  using T = TileShape<KV, D>;
  return (T::rows + 2 * T::slots) * T::stride * 4;
}

// The running softmax and values of a warp's rows. A lane has rows g and g + 8 of each product, of a row the columns
// 2 t and 2 t + 1 of every eight.
template <class KV, int D>
struct RowsOfWarp {
  using T = TileShape<KV, D>;
  static constexpr int M = T::products, N = T::slots / 8;
  float top[M][2], sum[M][2], out[M][D / 8][4];

  __device__ __forceinline__ void clear() {
    SKV_UNROLL for (int m = 0; m < M; m++) {
      SKV_UNROLL for (int i = 0; i < 2; i++) top[m][i] = -INFINITY, sum[m][i] = 0;
      SKV_UNROLL for (int n = 0; n < D / 8; n++)
        SKV_UNROLL for (int i = 0; i < 4; i++) out[m][n][i] = 0;
    }
  }
  // Weights of logits, as the A operands of 16 slots each; what was added before is scaled to the new tops.
  __device__ __forceinline__ void weigh(float (*x)[N][4], Pair<KV> (*weights)[N / 2][4]) {
    SKV_UNROLL for (int m = 0; m < M; m++)
      SKV_UNROLL for (int i = 0; i < 2; i++) {
        float best = top[m][i];
        SKV_UNROLL for (int n = 0; n < N; n++) best = fmaxf(best, fmaxf(x[m][n][2 * i], x[m][n][2 * i + 1]));
        best = fmaxf(best, __shfl_xor_sync(kFull, best, 1));
        best = fmaxf(best, __shfl_xor_sync(kFull, best, 2));
        const float base = best == -INFINITY ? 0.0f : best * kLog2e;  // nothing seen yet: every weight is 0
        // exactly 1 where nothing changes: a row's bits must not depend on tiles that it does not see
        const float scale = top[m][i] == best ? 1.0f : exp2_fast((top[m][i] - best) * kLog2e);
        top[m][i] = best, sum[m][i] *= scale;
        SKV_UNROLL for (int n = 0; n < D / 8; n++) out[m][n][2 * i] *= scale, out[m][n][2 * i + 1] *= scale;
        SKV_UNROLL for (int n = 0; n < N; n++)
          SKV_UNROLL for (int e = 2 * i; e < 2 * i + 2; e++) {
            x[m][n][e] = exp2_fast(fmaf(x[m][n][e], kLog2e, -base));
            sum[m][i] += x[m][n][e];
          }
        SKV_UNROLL for (int n = 0; n < N; n++)
          weights[m][n / 2][n % 2 * 2 + i] = pair_of<KV>(x[m][n][2 * i], x[m][n][2 * i + 1]);
      }
  }
  // The four lanes of a row add what each has seen.
  __device__ __forceinline__ void end() {
    SKV_UNROLL for (int m = 0; m < M; m++)
      SKV_UNROLL for (int i = 0; i < 2; i++) {
        sum[m][i] += __shfl_xor_sync(kFull, sum[m][i], 1);
        sum[m][i] += __shfl_xor_sync(kFull, sum[m][i], 2);
      }
  }
  __device__ __forceinline__ void add(const Pair<KV> (*weights)[N / 2][4], Shared<const uint32_t> values) {
    SKV_UNROLL for (int j = 0; j < N / 2; j++)  // 16 slots
      SKV_UNROLL for (int n = 0; n < D / 8; n += 2) {
        Pair<KV> b[4];
        load_turned<KV>(b, values, T::stride, j * 16, n * 8);
        SKV_UNROLL for (int m = 0; m < M; m++) {
          multiply<KV>(out[m][n], weights[m][j], b[0], b[1]);
          multiply<KV>(out[m][n + 1], weights[m][j], b[2], b[3]);
        }
      }
  }
};

template <class P, class KV, int D>
__global__ void __launch_bounds__(kTileThreads) prefill_kernel(Step s) {
  using T = TileShape<KV, D>;
  using Rows = RowsOfWarp<KV, D>;
  const skv_row row = load_row(s, blockIdx.z);
  // the last tiles, which see most, go first, those of all heads side by side
  const int nth = blockIdx.y * gridDim.x + blockIdx.x, head = nth % s.kv_heads, tile = gridDim.x - 1 - nth / s.kv_heads;
  const int tokens = tile_tokens(T::rows, s.group), t0 = tile * tokens;
  if (row.policy != s.self || is_decode(row) || t0 >= row.tokens) return;
  const Head<KV, D> h(s, row, s.layer, head);
  const int t1 = smaller(t0 + tokens, row.tokens), before = h.live - row.tokens, end = before + t1;

  Arena arena;
  const Shared<uint32_t> queries = arena.take<uint32_t>(T::rows * T::stride, "queries");
  const Shared<uint32_t> keys = arena.take<uint32_t>(T::slots * T::stride, "keys");
  const Shared<uint32_t> values = arena.take<uint32_t>(T::slots * T::stride, "values");
  fetch_slots<T::slots>(h, keys, 0, 0, end);
  commit_async();
  load_queries(h, queries, T::rows, t0, t1);

  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, row0 = threadIdx.x / 32 * 16 * T::products;
  auto token_of = [&](int m, int i) { return t0 + (row0 + 16 * m + g + 8 * i) / s.group; };
  Rows rows;
  rows.clear();

  int slot0 = 0;
  do {  // there is one tile at least
    wait_async<0>();
    __syncthreads();  // the keys are here, and everybody has read the last tile's values
    fetch_slots<T::slots>(h, values, h.values, slot0, end);
    commit_async();
    if (P::shift_lane) {
      turn_slots<P>(h, keys, slot0, T::slots, end);
      __syncthreads();
    }
    float x[Rows::M][Rows::N][4];
    logits_of<KV, D, Rows::M, Rows::N>(x, queries, row0, keys);
    if (slot0 + T::slots > before + t0 + 1)  // the causal edge, or the end
      SKV_UNROLL for (int m = 0; m < Rows::M; m++)
        SKV_UNROLL for (int i = 0; i < 2; i++) {
          const int token = token_of(m, i), sees = token < t1 ? before + token + 1 - slot0 : 0;  // of this tile
          SKV_UNROLL for (int n = 0; n < Rows::N; n++)
            SKV_UNROLL for (int e = 0; e < 2; e++)
              if (n * 8 + 2 * t + e >= sees) x[m][n][2 * i + e] = -INFINITY;
        }
    Pair<KV> weights[Rows::M][Rows::N / 2][4];
    rows.weigh(x, weights);
    wait_async<0>();
    __syncthreads();  // the values are here, and everybody has read the keys
    if (slot0 + T::slots < end) {
      fetch_slots<T::slots>(h, keys, 0, slot0 + T::slots, end);
      commit_async();
    }
    rows.add(weights, values);
  } while ((slot0 += T::slots) < end);
  rows.end();
  SKV_UNROLL for (int m = 0; m < Rows::M; m++)
    SKV_UNROLL for (int i = 0; i < 2; i++) {
      const int token = token_of(m, i);
      if (token >= t1) continue;
      const int64_t query = h.query(token) + (row0 + 16 * m + g + 8 * i) % s.group;
      const float scale = 1.0f / rows.sum[m][i];
      SKV_UNROLL for (int n = 0; n < D / 8; n++) {
        const float pair[2] = {rows.out[m][n][2 * i] * scale, rows.out[m][n][2 * i + 1] * scale};
        store_pair(s, global(s.out), query * D + n * 8 + 2 * t, pair);
      }
      if (t == 0) global(s.lse)[query] = rows.top[m][i] + skv_log(rows.sum[m][i]);
    }
}
