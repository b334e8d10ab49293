// attend, generated tokens: one query per row against its pages, all query heads of a KV head per load of K and V, on
// tensor cores.
//
//   grid (splits, kv_heads * parts, rows), 128 threads; a part is up to 8 H query heads
//
// A row is cut into at most Tiles::splits splits of a multiple of Tiles::split slots, by its own length and nothing else:
// its bits do not depend on the batch. With as many blocks as a row may have splits each has one or none, so that blocks
// are many and the last ones end together. The last block of a row's part to end puts the splits together, in order.
// In a split warp w takes pages w, w + 4, …, straight from memory into the operands of products: a lane reads whole
// 16-byte chunks, and which elements or slots a product calls its first is the lane's own affair, as long as both sides
// agree. 8 KiB of a warp are under way at 128 dims.
//
//   logits [heads x slots] = queries [heads x dims] keys [dims x slots]
//   sums    [dims x heads] = values [dims x slots] weights [slots x heads], a lane's weights where its logits were
//
//   bytes: 2 d b per slot, read once, plus 4 (d + 2) g per split written, and read again from L2 (1.6 % at d = 128,
//   g = 4); a policy that observes adds 4 g per slot written. Bound by memory.
#pragma once
#include "left.cuh"
#include "mma.cuh"
#include "turn.cuh"

constexpr int kDecodeThreads = 128, kDecodeWarps = kDecodeThreads / 32;

// How lanes share a page's keys and values. Lane 4 g + t has, of keys, slots slot_of(g, 0) and slot_of(g, 1) and every
// fourth chunk of either half, so that dims which turn together are its own; of values, slots 4 t … 4 t + 3 and every
// eighth chunk from chunk g on.
template <class KV, int D>
struct DecodeShape {
  using L = Layout<KV, D>;
  static constexpr int half = L::chunks / 2;                               // chunks of half a vector
  static constexpr int of_half = divided(half, 4);                         // that a lane has, some of them past the end
  static constexpr int keys = 2 * of_half, values = divided(L::chunks, 8);  // chunks of a lane and slot
  static constexpr int pairs = L::per_chunk / 2;                           // of elements, in a chunk
  static constexpr int products = pairs / 2;                               // of 16 dims, with a chunk of every lane
  static constexpr int queries = keys * products * 32 * 8 / KV::per_word;  // words of a part's
  static constexpr int registers = values * pairs * 4;                     // sums of a lane and tile of heads
  static constexpr bool wide = KV::per_word == 1 || D > 128;               // the registers hold half as much
  static constexpr int tiles = wide ? 1 : 2;                               // of heads, that a block may have
  static constexpr bool early = KV::per_word == 2;                         // the first values are fetched with the keys
  static constexpr int keys_at_once = wide ? 1 : of_half;                  // chunks of either half, fetched together
  static constexpr int values_at_once = early ? smaller(values, 2) : 1;
  static_assert(of_half % keys_at_once == 0 && values % values_at_once == 0, "whole fetches");
  SKV_BOTH constexpr bool has_key(int i, int t) { return half % 4 == 0 || i % of_half * 4 + t < half; }
  // From a lane's first chunk to its chunk i; some other one of the slot where it has none.
  SKV_BOTH constexpr int key_step(int i, int t) { return i / of_half * half + (has_key(i, t) ? i % of_half * 4 : -t); }
  SKV_BOTH constexpr int value_step(int i, int g) { return L::chunks % 8 == 0 || i * 8 + g < L::chunks ? i * 8 : -g; }
  // The i-th pair of neighbouring dims that a lane sums for one head: its first register, the second is two further, and
  // its dims, past the end where there is none.
  SKV_BOTH constexpr int register_of(int i) { return i / 2 * 4 + i % 2; }
  SKV_BOTH constexpr int dim_of(int i, int g) { return (g + i / 2 / pairs * 8) * L::per_chunk + i / 2 % pairs * 2; }
  SKV_BOTH constexpr int slot_of(int column, int i) { return column / 2 * 4 + i * 2 + column % 2; }
};

// 2^(old - top) in natural units; 0 for what has seen nothing.
SKV_INLINE float scale_of(float old, float top) { return old == -INFINITY ? 0.0f : exp2_fast((old - top) * kLog2e); }

// A chunk of a key turned, with the chunk of the other half that turns with it. Called, not inlined: turning is rare, and
// its registers would be the loop's.
template <class KV, int D>
struct Turn {
  struct Chunks {
    Chunk at[2];
  };
  static __device__ __noinline__ Chunks turn(Chunks k, int shift, int chunk, int interleaved, const float* inv_freq) {
    using L = Layout<KV, D>;
    constexpr int e = L::per_chunk;
    const Global<const float> frequency = global(inv_freq);
    float x[2][e];
    SKV_UNROLL for (int h = 0; h < 2; h++) decode_chunk<KV>(k.at[h], x[h]);
    SKV_UNROLL for (int i = 0; i < e; i++) {  // a pair of neighbours in either chunk, or of both chunks
      const int h = i / (e / 2), j = i % (e / 2) * 2;
      if (interleaved) turn_pair(&x[h][j], &x[h][j + 1], shift, frequency[(h * (D / 2) + chunk * e + j) / 2]);
      else turn_pair(&x[0][i], &x[1][i], shift, frequency[chunk * e + i]);
    }
    SKV_UNROLL for (int h = 0; h < 2; h++)
      SKV_UNROLL for (int w = 0; w < 4; w++) k.at[h].word[w] = KV::encode(x[h] + w * KV::per_word);
    return k;
  }
};

// The queries of a part as the A operands of their products, scaled, then rounded as the keys are; zeros where the part
// or the vector ends. [chunk of a lane][product of 16 dims][lane], four pairs each.
template <class KV, int D, int H>
SKV_INLINE void load_part(const Head<KV, D>& h, Shared<uint32_t> queries, int g0, int heads) {
  using W = DecodeShape<KV, D>;
  constexpr int words = 2 / KV::per_word;  // of a pair
  SKV_UNROLL for (int k = 0; k < divided(W::keys * W::products * 32, kDecodeThreads); k++) {
    const int n = k * kDecodeThreads + threadIdx.x;
    if (n >= W::keys * W::products * 32) break;
    const int i = n / 32 / W::products, m = n / 32 % W::products, g = n % 32 / 4, t = n % 4;
    Chunk out[words];
    SKV_UNROLL for (int r = 0; r < 4; r++) {
      const int head = r % 2 * kTile + g, d = (t + W::key_step(i, t)) * Layout<KV, D>::per_chunk + 4 * m + r / 2 * 2;
      float x[2] = {0, 0};
      if (r % 2 < H && head < heads && W::has_key(i, t))
        load_pair(h.s, global(h.s.q), (h.query(0) + g0 + head) * D + d, x);
      const Pair<KV> pair = pair_of<KV>(x[0] * h.s.scale, x[1] * h.s.scale);
      SKV_UNROLL for (int w = 0; w < words; w++) out[(r * words + w) / 4].word[(r * words + w) % 4] = pair.word[w];
    }
    SKV_UNROLL for (int w = 0; w < words; w++) store_chunk(queries, (n * words + w) * 4, out[w]);
  }
}

template <class KV>
SKV_INLINE void load_part_operand(Pair<KV>* a, Shared<const uint32_t> queries, int n) {
  constexpr int words = 2 / KV::per_word;
  Chunk from[words];
  SKV_UNROLL for (int w = 0; w < words; w++) from[w] = load_chunk(queries, (n * words + w) * 4);
  SKV_UNROLL for (int i = 0; i < 4 * words; i++) a[i / words].word[i % words] = from[i / 4].word[i % 4];
}

// A warp's running softmax and sums of values. Lane 4 g + t has the tops and sums of head g of each tile, the latter of
// the slots it has seen itself, and sums of values of heads 2 t and 2 t + 1: of two neighbouring dims, a quad.
template <class KV, int D, int H>
struct Running {
  using W = DecodeShape<KV, D>;
  float top[H], sum[H], out[H][W::registers / 4][4];

  __device__ __forceinline__ void clear() {
    SKV_UNROLL for (int n = 0; n < H; n++) {
      top[n] = -INFINITY, sum[n] = 0;
      SKV_UNROLL for (int i = 0; i < W::registers; i++) out[n][i / 4][i % 4] = 0;
    }
  }
  // Logits of four slots become weights, as a B operand; what was added before is scaled to the new top.
  __device__ __forceinline__ void weigh(int n, float* w, Pair<KV>* weights) {
    float best = fmaxf(top[n], fmaxf(fmaxf(w[0], w[1]), fmaxf(w[2], w[3])));
    best = fmaxf(best, __shfl_xor_sync(kFull, best, 1));
    best = fmaxf(best, __shfl_xor_sync(kFull, best, 2));
    const float scale = scale_of(top[n], best);
    top[n] = best, sum[n] *= scale;
    SKV_UNROLL for (int i = 0; i < 4; i++) w[i] = scale_of(w[i], best), sum[n] += w[i];
    SKV_UNROLL for (int i = 0; i < 2; i++) weights[i] = pair_of<KV>(w[2 * i], w[2 * i + 1]);
    const int t = threadIdx.x % 4;
    const float scales[2] = {__shfl_sync(kFull, scale, 8 * t), __shfl_sync(kFull, scale, 8 * t + 4)};
    SKV_UNROLL for (int i = 0; i < W::registers; i++) out[n][i / 4][i % 4] *= scales[i % 2];
  }
  // Adds quad r: two dims of a chunk of four slots.
  __device__ __forceinline__ void add(int r, const Chunk* slots, int pair, const Pair<KV> (*weights)[2]) {
    Pair<KV> a[4];
    SKV_UNROLL for (int i = 0; i < 4; i++)
      a[i] = pair_across<KV>(slots[i / 2 * 2], slots[i / 2 * 2 + 1], pair * 2 + i % 2);
    SKV_UNROLL for (int n = 0; n < H; n++) multiply<KV>(out[n][r], a, weights[n][0], weights[n][1]);
  }
};

// The splits of a part, put together: every lane has the sums that it would have had, had one block read all slots.
template <class KV, int D, int H>
SKV_INLINE void merge_splits(const Head<KV, D>& h, const Left& left, Shared<float> scales, int g0, int heads,
                             int splits) {
  using W = DecodeShape<KV, D>;
  const Step& s = h.s;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Global<const float> shares = global((const float*)s.logits);
  auto share = [&](int split, int tile) { return left.share(blockIdx.z, h.head, split, g0 / kTile + tile); };
  static_assert(Tiles::splits == 32, "a lane has a split");
  for (int head = warp; head < heads; head += kDecodeWarps) {
    const int64_t at = share(lane, head / kTile) + head % kTile;
    float top = lane < splits ? (float)shares[at] : -INFINITY, sum = lane < splits ? (float)shares[at + kTile] : 0.0f;
    float best = top;
    SKV_UNROLL for (int n = 16; n > 0; n /= 2) best = fmaxf(best, __shfl_xor_sync(kFull, best, n));
    const float scale = scale_of(top, best);
    sum *= scale;
    SKV_UNROLL for (int n = 16; n > 0; n /= 2) sum += __shfl_xor_sync(kFull, sum, n);
    scales[head * Tiles::splits + lane] = scale / sum;
    if (lane == 0) global(s.lse)[h.query(0) + g0 + head] = best + skv_log(sum);
  }
  __syncthreads();
  constexpr int all = H * W::registers / 2, mine = all / kDecodeWarps;  // pairs of neighbouring dims
  static_assert(all % kDecodeWarps == 0 && kDecodeWarps % 2 == 0, "a thread's pairs are of one parity of heads");
  auto tile_of = [&](int i) { return (warp + i * kDecodeWarps) / (W::registers / 2); };
  auto nth_of = [&](int i) { return (warp + i * kDecodeWarps) % (W::registers / 2); };
  auto head_of = [&](int i) { return tile_of(i) * kTile + lane / 8 * 2 + warp % 2; };
  const Global<const float> sums = shares + (share(0, 0) + 2 * kTile + lane);
  const int size = left.share_size, all_tiles = left.tiles * size;
  float value[mine][2];
  SKV_UNROLL for (int i = 0; i < mine; i++) value[i][0] = value[i][1] = 0;
  SKV_UNROLL_4 for (int k = 0; k < splits; k++)
    SKV_UNROLL for (int i = 0; i < mine; i++) {
      if (head_of(i) >= heads) continue;
      const int at = k * all_tiles + tile_of(i) * size + W::register_of(nth_of(i)) * 32;
      const float scale = scales[head_of(i) * Tiles::splits + k];
      value[i][0] = fmaf(sums[at], scale, value[i][0]), value[i][1] = fmaf(sums[at + 64], scale, value[i][1]);
    }
  SKV_UNROLL for (int i = 0; i < mine; i++) {
    const int d = W::dim_of(nth_of(i), lane % 8);
    if (head_of(i) < heads && d < D) store_pair(s, global(s.out), (h.query(0) + g0 + head_of(i)) * D + d, value[i]);
  }
}

template <class P, class KV, int D, int H>
__global__ void __launch_bounds__(kDecodeThreads, H == 1 && !DecodeShape<KV, D>::wide && !P::shift_lane ? 3 : 1)
    decode_kernel(Step s, int max_rows) {
  using W = DecodeShape<KV, D>;
  using L = Layout<KV, D>;
  const skv_row row = load_row(s, blockIdx.z);
  if (row.policy != s.self || !is_decode(row)) return;
  const int parts = gridDim.y / s.kv_heads, part = blockIdx.y % parts, g0 = part * H * kTile;
  const int heads = min(H * kTile, s.group - g0);
  const Head<KV, D> h(s, row, s.layer, blockIdx.y / parts);
  const int splits = splits_of(h.live), length = split_slots(h.live);
  const int split = blockIdx.x, end = min(h.live, (split + 1) * length);
  if (split >= splits) return;

  Arena arena;
  const Shared<uint32_t> queries = arena.take<uint32_t>(W::queries, "queries");
  const Shared<float> tops = arena.take<float>(kDecodeWarps * H * kTile, "tops");
  const Shared<float> sums = arena.take<float>(kDecodeWarps * H * kTile, "sums");
  const Shared<float> scales = arena.take<float>(H * kTile * Tiles::splits, "scales");
  const Shared<float> values_of = arena.take<float>(kDecodeWarps * H * W::registers * 32, "values");
  const Left left(s, D, max_rows);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const bool observed = P::observes_decode && row.observe1 > row.observe0;
  int32_t number = 0;  // of the next page: looked up a page ahead
  const int page0 = split * length / SKV_PAGE + warp;
  if (page0 * SKV_PAGE < end) {
    number = h.table[page0];
    for (int i = lane * 32; i < L::lanes; i += 32 * 32) call_ahead(h.numbered(number), i);  // while queries are read
  }
  load_part<KV, D, H>(h, queries, g0, heads);
  __syncthreads();

  Running<KV, D, H> run;
  run.clear();
  const int key0 = W::slot_of(g, 0) * L::row + t * 4, value0 = h.values + g * 4;  // first chunks
  SKV_LOOP for (int p = page0; p * SKV_PAGE < end; p += kDecodeWarps) {
    const Global<const uint32_t> page = h.numbered(number);
    const int there = end - p * SKV_PAGE;  // slots of the page, or more
    if ((p + kDecodeWarps) * SKV_PAGE < end) number = h.table[p + kDecodeWarps];
    Chunk keys[2][2][W::keys_at_once], values[W::values_at_once][4];
    auto fetch_keys = [&](int c0) {  // of slots that are not there: anything
      SKV_UNROLL for (int i = 0; i < 2; i++)
        SKV_UNROLL for (int c = 0; c < 2 * W::keys_at_once; c++)
          keys[i][c % 2][c / 2] =
              stream_chunk(page + key0, 2 * i * L::row + W::key_step(c % 2 * W::of_half + c0 + c / 2, t) * 4);
    };
    auto fetch_values = [&](int c0) {  // of slots that are not there: the last one's, since nothing times 0 may be NaN
      SKV_UNROLL for (int c = 0; c < W::values_at_once; c++)
        SKV_UNROLL for (int i = 0; i < 4; i++)
          values[c][i] =
              stream_chunk(page + value0, min(4 * t + i, there - 1) * L::row + W::value_step(c0 + c, g) * 4);
    };
    int shift[2] = {0, 0};
    if (P::shift_lane)
      SKV_UNROLL for (int i = 0; i < 2; i++)
        if (W::slot_of(g, i) < there) shift[i] = (int)page[h.lanes + P::shift_lane * SKV_PAGE + W::slot_of(g, i)];
    fetch_keys(0);
    if (W::early) fetch_values(0);
    __syncwarp();  // all are under way before the first product: the compiler would move some behind it
    const bool turns = P::shift_lane && __any_sync(kFull, shift[0] != 0 || shift[1] != 0);
    float x[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};  // columns 2 t, 2 t + 1 of either eight slots, heads g and g + 8
    SKV_UNROLL for (int c0 = 0; c0 < W::of_half; c0 += W::keys_at_once) {
      if (c0) fetch_keys(c0);
      if (turns)
        SKV_UNROLL for (int i = 0; i < 2; i++)
          SKV_UNROLL for (int c = 0; c < W::keys_at_once; c++) {
            typename Turn<KV, D>::Chunks both{{keys[i][0][c], keys[i][1][c]}};
            both = Turn<KV, D>::turn(both, shift[i], t + W::key_step(c0 + c, t), s.rope_interleaved, s.inv_freq);
            keys[i][0][c] = both.at[0], keys[i][1][c] = both.at[1];
          }
      SKV_UNROLL for (int c = 0; c < 2 * W::keys_at_once; c++) {
        const int place = c % 2 * W::of_half + c0 + c / 2;
        SKV_UNROLL for (int m = 0; m < W::products; m++) {
          Pair<KV> a[4];
          load_part_operand<KV>(a, queries, (place * W::products + m) * 32 + lane);
          SKV_UNROLL for (int i = 0; i < 2; i++) {
            const Chunk& key = keys[i][c % 2][c / 2];
            multiply<KV>(x[i], a, pair_in<KV>(key, 2 * m), pair_in<KV>(key, 2 * m + 1));
          }
        }
      }
    }
    Pair<KV> weights[H][2];
    SKV_UNROLL for (int n = 0; n < H; n++) {
      float w[4];  // of slots 4 t …: logits, then weights
      SKV_UNROLL for (int i = 0; i < 4; i++) w[i] = 4 * t + i < there ? x[i / 2][2 * n + i % 2] : -INFINITY;
      if (P::observes_decode && observed && n * kTile + g < heads) {
        Chunk chunk;
        SKV_UNROLL for (int i = 0; i < 4; i++) chunk.word[i] = F32::encode(w + i);
        const int64_t logits = left.logit(blockIdx.z, h.head, g0 + n * kTile + g);
        store_chunk(global((uint32_t*)s.logits), logits + p * SKV_PAGE + 4 * t, chunk);
      }
      run.weigh(n, w, weights[n]);
    }
    SKV_UNROLL for (int c0 = 0; c0 < W::values; c0 += W::values_at_once) {
      if (c0 || !W::early) fetch_values(c0);
      SKV_UNROLL for (int r = 0; r < W::values_at_once * W::pairs; r++)
        run.add(c0 * W::pairs + r, values[r / W::pairs], r % W::pairs, weights);
    }
  }
  // the warps meet in shared memory: values lie there, and in shares, by [register][t][g]
  SKV_UNROLL for (int n = 0; n < H; n++) {
    run.sum[n] += __shfl_xor_sync(kFull, run.sum[n], 1);
    run.sum[n] += __shfl_xor_sync(kFull, run.sum[n], 2);
    const int at = warp * H + n;
    if (t == 0) tops[at * kTile + g] = run.top[n], sums[at * kTile + g] = run.sum[n];
    SKV_UNROLL for (int i = 0; i < W::registers; i++)
      values_of[(at * W::registers + i) * 32 + t * 8 + g] = run.out[n][i / 4][i % 4];
  }
  __syncthreads();
  const Global<float> shares = global(s.logits);
  SKV_UNROLL for (int n = 0; n < H; n++) {
    const int64_t share = left.share(blockIdx.z, h.head, split, g0 / kTile + n);
    const int column = lane / 8 * 2 + warp % 2;  // of a product: the head of this thread's sums
    float best = -INFINITY, total = 0, scale[kDecodeWarps];
    SKV_UNROLL for (int w = 0; w < kDecodeWarps; w++) best = fmaxf(best, tops[(w * H + n) * kTile + column]);
    SKV_UNROLL for (int w = 0; w < kDecodeWarps; w++) {
      scale[w] = scale_of(tops[(w * H + n) * kTile + column], best);
      total += sums[(w * H + n) * kTile + column] * scale[w];
    }
    const int head = n * kTile + column;
    if (head >= heads) continue;
    if (lane % 8 == 0 && warp < 2) {
      if (splits == 1) global(s.lse)[h.query(0) + g0 + head] = best + skv_log(total);
      else shares[share + column] = best, shares[share + kTile + column] = total;
    }
    for (int i = warp; i < W::registers / 2; i += kDecodeWarps) {
      float value[2] = {0, 0};
      SKV_UNROLL for (int e = 0; e < 2; e++)
        SKV_UNROLL for (int w = 0; w < kDecodeWarps; w++)
          value[e] += values_of[((w * H + n) * W::registers + W::register_of(i) + 2 * e) * 32 + lane] * scale[w];
      if (splits > 1) {
        SKV_UNROLL for (int e = 0; e < 2; e++)
          shares[share + 2 * kTile + (W::register_of(i) + 2 * e) * 32 + lane] = value[e];
      } else if (W::dim_of(i, lane % 8) < D) {
        value[0] *= 1.0f / total, value[1] *= 1.0f / total;
        store_pair(s, global(s.out), (h.query(0) + g0 + head) * D + W::dim_of(i, lane % 8), value);
      }
    }
  }
  if (splits == 1) return;
  if (arrive_last(global((uint32_t*)s.logits), Left::counter(s.kv_heads, blockIdx.z, h.head, part), splits))
    merge_splits<KV, D, H>(h, left, scales, g0, heads, splits);
}

template <class KV, int D, int H>
SKV_BOTH constexpr int decode_shared() {
  using W = DecodeShape<KV, D>;
  return (W::queries + H * (kDecodeWarps * (2 * kTile + W::registers * 32) + kTile * Tiles::splits)) * 4;
}
