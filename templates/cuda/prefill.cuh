// attend, prompts: a tile of query rows (tokens x query heads of the KV head) walks the slots it may see, tile by tile,
// with a running softmax. Logits, weights and sums stay in registers; keys and values come through shared memory: a
// tile's values while its logits are computed, the next tile's keys while its values are added.
//
//   grid (row tiles, kv_heads, rows), 128 threads: 4 warps of 32 query rows each (16 of wide vectors)
//   q [token][query head][dim], a head's pages -> out [token][query head][dim], lse [token][query head]
//   flops: 4 d per query row and visible slot, on tensor cores; bytes: 2 d b per slot and row tile, from L2 after the
//   first (d dims, b bytes of an element). Bound by arithmetic: at 32 rows a warp shared memory gives 160 bytes for
//   each product (16 x 8 x 16).
//
// A query row's arithmetic depends on the slots it sees alone: the same bits for every chunking of the prompt.
#pragma once
#include "tile.cuh"

template <class KV, int D>
SKV_BOTH constexpr int prefill_shared() {
  using T = TileShape<KV, D>;
  return (T::rows + 2 * T::slots) * T::stride * 4;
}

// The running softmax of a warp's query rows. A lane has rows g and g + 8 of each product, of a row the columns 2 t and
// 2 t + 1 of every eight.
template <class KV, int D>
struct PrefillSoftmax {
  using T = TileShape<KV, D>;
  static constexpr int M = T::products, N = T::slots / 8;
  float max[M][2], sum[M][2], out[M][D / 8][4];

  __device__ __forceinline__ void clear() {
    SKV_UNROLL for (int m = 0; m < M; m++) {
      SKV_UNROLL for (int i = 0; i < 2; i++) {
        max[m][i] = -INFINITY;
        sum[m][i] = 0;
      }
      SKV_UNROLL for (int n = 0; n < D / 8; n++)
        SKV_UNROLL for (int i = 0; i < 4; i++) out[m][n][i] = 0;
    }
  }
  // Logits become weights, as the A operands of 16 slots each; what was added before is scaled to the new maxima.
  __device__ __forceinline__ void weigh(float (*x)[N][4], Pair<KV> (*weights)[N / 2][4]) {
    SKV_UNROLL for (int m = 0; m < M; m++)
      SKV_UNROLL for (int i = 0; i < 2; i++) {
        float best = max[m][i];
        SKV_UNROLL for (int n = 0; n < N; n++) best = fmaxf(best, fmaxf(x[m][n][2 * i], x[m][n][2 * i + 1]));
        best = fmaxf(best, __shfl_xor_sync(kFull, best, 1));
        best = fmaxf(best, __shfl_xor_sync(kFull, best, 2));
        const float base = best == -INFINITY ? 0.0f : best * kLog2e;  // nothing seen yet: every weight is 0
        // exactly 1 where nothing changes: a row's bits must not depend on tiles that it does not see
        const float scale = max[m][i] == best ? 1.0f : exp2_fast((max[m][i] - best) * kLog2e);
        max[m][i] = best;
        sum[m][i] *= scale;
        SKV_UNROLL for (int n = 0; n < D / 8; n++)
          SKV_UNROLL for (int e = 2 * i; e < 2 * i + 2; e++) out[m][n][e] *= scale;
        SKV_UNROLL for (int n = 0; n < N; n++)
          SKV_UNROLL for (int e = 2 * i; e < 2 * i + 2; e++) {
            x[m][n][e] = exp2_fast(fmaf(x[m][n][e], kLog2e, -base));
            sum[m][i] += x[m][n][e];
          }
        SKV_UNROLL for (int n = 0; n < N; n++)
          weights[m][n / 2][n % 2 * 2 + i] = pair_of<KV>(x[m][n][2 * i], x[m][n][2 * i + 1]);
      }
  }
  __device__ __forceinline__ void add(const Pair<KV> (*weights)[N / 2][4], Shared<const uint32_t> values) {
    SKV_UNROLL for (int j = 0; j < N / 2; j++)  // 16 slots
      SKV_UNROLL for (int n = 0; n < D / 8; n += 2) {
        Pair<KV> b[4];
        load_transposed<KV>(b, values, T::stride, j * 16, n * 8);
        SKV_UNROLL for (int m = 0; m < M; m++) {
          multiply<KV>(out[m][n], weights[m][j], b[0], b[1]);
          multiply<KV>(out[m][n + 1], weights[m][j], b[2], b[3]);
        }
      }
  }
  // The four lanes of a row have summed the weights of their own slots: together.
  __device__ __forceinline__ void end() {
    SKV_UNROLL for (int m = 0; m < M; m++)
      SKV_UNROLL for (int i = 0; i < 2; i++) {
        sum[m][i] += __shfl_xor_sync(kFull, sum[m][i], 1);
        sum[m][i] += __shfl_xor_sync(kFull, sum[m][i], 2);
      }
  }
};

// A lane's query rows of a tile: two of each of its warp's products.
template <class KV, int D>
struct LaneRows {
  int t0, t1, row0, group;  // tokens [t0, t1) of the tile; the lane's first row
  __device__ __forceinline__ int row_of(int m, int i) const { return row0 + 16 * m + 8 * i; }
  __device__ __forceinline__ int token_of(int m, int i) const { return t0 + row_of(m, i) / group; }
};

// Logits of slots that a token does not see: of the tile from slot0 on, where `before` slots were there before the row's.
template <class KV, int D>
SKV_INLINE void mask_causal(float (*x)[PrefillSoftmax<KV, D>::N][4], const LaneRows<KV, D>& rows, int before,
                            int slot0) {
  using Softmax = PrefillSoftmax<KV, D>;
  const int t = threadIdx.x % 4;
  SKV_UNROLL for (int m = 0; m < Softmax::M; m++)
    SKV_UNROLL for (int i = 0; i < 2; i++) {
      const int token = rows.token_of(m, i), sees = token < rows.t1 ? before + token + 1 - slot0 : 0;  // of this tile
      SKV_UNROLL for (int n = 0; n < Softmax::N; n++)
        SKV_UNROLL for (int e = 0; e < 2; e++)
          if (n * 8 + 2 * t + e >= sees) x[m][n][2 * i + e] = -INFINITY;
    }
}

// Logits of slots that a token does not see any more, in a layer with a window.
template <class KV, int D>
SKV_INLINE void mask_window(float (*x)[PrefillSoftmax<KV, D>::N][4], const LaneRows<KV, D>& rows, int before, int slot0,
                            int window) {
  using Softmax = PrefillSoftmax<KV, D>;
  const int t = threadIdx.x % 4;
  SKV_UNROLL for (int m = 0; m < Softmax::M; m++)
    SKV_UNROLL for (int i = 0; i < 2; i++) {
      const int from = before + rows.token_of(m, i) + 1 - window - slot0;  // of this tile
      SKV_UNROLL for (int n = 0; n < Softmax::N; n++)
        SKV_UNROLL for (int e = 0; e < 2; e++)
          if (n * 8 + 2 * t + e < from) x[m][n][2 * i + e] = -INFINITY;
    }
}

// Where the tile begins with the first slot that token t0 sees. Tiles lie by position, or a row's bits would depend on
// the pages that its window has left: the first may begin before slot 0, by whole pages.
template <class KV, int D>
SKV_INLINE int first_tile(const Head<KV, D>& h, int before, int t0) {
  constexpr int slots = TileShape<KV, D>::slots;
  if (h.s.window == 0) return 0;
  const int gone = h.row.pos0 + h.row.tokens - h.live, from = max(before + t0 + 1 - h.s.window, 0);
  return (gone + from) / slots * slots - gone;
}

template <class KV, int D>
SKV_INLINE void store_rows(const Head<KV, D>& h, const LaneRows<KV, D>& rows, const PrefillSoftmax<KV, D>& softmax) {
  const int t = threadIdx.x % 4;
  SKV_UNROLL for (int m = 0; m < PrefillSoftmax<KV, D>::M; m++)
    SKV_UNROLL for (int i = 0; i < 2; i++) {
      const int token = rows.token_of(m, i);
      if (token >= rows.t1) continue;
      const int64_t query = h.query(token) + rows.row_of(m, i) % h.s.group;
      const float scale = 1.0f / softmax.sum[m][i];
      SKV_UNROLL for (int n = 0; n < D / 8; n++) {
        const float pair[2] = {softmax.out[m][n][2 * i] * scale, softmax.out[m][n][2 * i + 1] * scale};
        store_pair(h.s, global(h.s.out), query * D + n * 8 + 2 * t, pair);
      }
      if (t == 0) global(h.s.lse)[query] = softmax.max[m][i] + skv_log(softmax.sum[m][i]);
    }
}

template <class A, class KV, int D>
__global__ void __launch_bounds__(kTileThreads) prefill_kernel(Step s) {
  using T = TileShape<KV, D>;
  using Softmax = PrefillSoftmax<KV, D>;
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
  int slot0 = first_tile(h, before, t0);
  fetch_slots<T::slots>(h, keys, 0, slot0, end);
  commit_async();
  load_queries(h, queries, T::rows, t0, t1);

  const int row0 = threadIdx.x / 32 * 16 * T::products, g = threadIdx.x % 32 / 4;
  const LaneRows<KV, D> rows = {t0, t1, row0 + g, s.group};
  Softmax softmax;
  softmax.clear();
  do {  // there is one tile at least
    wait_async<0>();
    __syncthreads();  // the keys are here, and everybody has read the last tile's values
    fetch_slots<T::slots>(h, values, h.values, slot0, end);
    commit_async();
    if (A::shift_lane && s.inv_freq && !s.window) {
      rotate_slots<A>(h, keys, slot0, T::slots, end);
      __syncthreads();
    }
    float x[Softmax::M][Softmax::N][4];
    logits_of<KV, D, Softmax::M, Softmax::N>(x, queries, row0, keys);
    cap_logits<Softmax::M>(s, x);
    if (s.window && slot0 < before + t1 - s.window) mask_window(x, rows, before, slot0, s.window);
    if (slot0 + T::slots > before + t0 + 1) mask_causal(x, rows, before, slot0);  // the causal edge, or the end
    Pair<KV> weights[Softmax::M][Softmax::N / 2][4];
    softmax.weigh(x, weights);
    wait_async<0>();
    __syncthreads();  // the values are here, and everybody has read the keys
    if (slot0 + T::slots < end) {
      fetch_slots<T::slots>(h, keys, 0, slot0 + T::slots, end);
      commit_async();
    }
    softmax.add(weights, values);
  } while ((slot0 += T::slots) < end);
  softmax.end();
  store_rows(h, rows, softmax);
}
