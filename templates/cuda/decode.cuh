// attend, generated tokens: one query token per row against its pages, all query heads of a KV head per load of K and
// V, on tensor cores.
//
//   grid (splits, kv_heads * parts, rows), 128 threads; a part is up to 8 H query heads of a KV head
//   q [query head][dim], a head's pages -> out [query head][dim], lse [query head]; logits [query head][slot] of rows
//   that the policy observes bytes: 2 d b per slot, read once, plus 4 (d + 2) g per split written, and read again from
//   L2 (1.6 % at d = 128, g = 4); a policy that observes adds 4 g per slot written (d dims, b bytes of an element, g
//   heads of a group). Bound by memory.
//
// A row is cut into at most Tiles::splits splits of a multiple of Tiles::split slots, by its own length and nothing
// else: its bits do not depend on the batch. With as many blocks as a row may have splits each has one or none, so that
// blocks are many and the last ones end together. The last block of a row's part to end merges the splits, in order. In
// a split warp w takes pages w, w + 4, …, straight from memory into the operands of products: a lane reads whole
// quads, and which elements or slots a product calls its first is the lane's own affair, as long as both sides
// agree. 8 KiB of a warp are under way at 128 dims.
//
//   logits [heads x slots] = queries [heads x dims] keys [dims x slots]
//   out     [dims x heads] = values [dims x slots] weights [slots x heads], a lane's weights where its logits were
#pragma once
#include "mma.cuh"
#include "rotate.cuh"
#include "scratch.cuh"

constexpr int kDecodeThreads = 128, kDecodeWarps = kDecodeThreads / 32;

// How lanes share a page's keys and values. Lane 4 g + t has, of keys, slots slot_of(g, 0) and slot_of(g, 1) and every
// fourth quad of either half, so that dims which rotate together are its own; of values, slots 4 t … 4 t + 3 and every
// eighth quad from quad g on.
template <class KV, int D>
struct DecodeShape {
  using L = Layout<KV, D>;
  static constexpr int half = L::quads / 2;          // quads of half a vector
  static constexpr int of_half = ceil_div(half, 4);  // that a lane has, some of them past the end
  static constexpr int keys = 2 * of_half, values = ceil_div(L::quads, 8);  // quads of a lane and slot
  static constexpr int pairs = L::per_quad / 2;                             // of elements, in a quad
  static constexpr int products = pairs / 2;                                // of 16 dims, with a quad of every lane
  static constexpr int queries = keys * products * 32 * 8 / KV::per_word;   // words of a part's
  static constexpr int registers = values * pairs * 4;                      // sums of a lane and tile of heads
  static constexpr bool wide = KV::per_word == 1 || D > 128;                // the registers hold half as much
  static constexpr int tiles = wide ? 1 : 2;                                // of heads, that a block may have
  static constexpr bool early = KV::per_word == 2;         // the first values are fetched with the keys
  static constexpr int keys_at_once = wide ? 1 : of_half;  // quads of either half, fetched together
  static constexpr int values_at_once = early ? smaller(values, 2) : 1;
  static_assert(of_half % keys_at_once == 0 && values % values_at_once == 0, "whole fetches");
  SKV_BOTH constexpr bool has_key(int i, int t) { return half % 4 == 0 || i % of_half * 4 + t < half; }
  // From a lane's first quad to its quad i; some other one of the slot where it has none.
  SKV_BOTH constexpr int key_step(int i, int t) { return i / of_half * half + (has_key(i, t) ? i % of_half * 4 : -t); }
  SKV_BOTH constexpr int value_step(int i, int g) { return L::quads % 8 == 0 || i * 8 + g < L::quads ? i * 8 : -g; }
  // The i-th pair of neighbouring dims that a lane sums for one head: its first register, the second is two further,
  // and its dims, past the end where there is none.
  SKV_BOTH constexpr int register_of(int i) { return i / 2 * 4 + i % 2; }
  SKV_BOTH constexpr int dim_of(int i, int g) { return (g + i / 2 / pairs * 8) * L::per_quad + i / 2 % pairs * 2; }
  SKV_BOTH constexpr int slot_of(int column, int i) { return column / 2 * 4 + i * 2 + column % 2; }
};

// e^(old - max); 0 for what has seen nothing.
SKV_INLINE float scale_of(float old, float max) { return old == -INFINITY ? 0.0f : exp2_fast((old - max) * kLog2e); }

// A block's shared memory.
template <class KV, int D, int H>
struct DecodeMemory {
  using W = DecodeShape<KV, D>;
  static constexpr int heads = kDecodeWarps * H * kTileHeads, sums = kDecodeWarps * H * W::registers * 32;
  static constexpr int bytes = (W::queries + 2 * heads + H * kTileHeads * Tiles::splits + sums) * 4;
  Shared<uint32_t> queries;  // [quad of a lane][product of 16 dims][lane], four pairs each
  Shared<float> max, sum;    // [warp][tile][head]
  Shared<float> scales;      // [head][split]
  Shared<float> out;         // [warp][tile][register][t][g]
  __device__ __forceinline__ DecodeMemory(Arena& arena)
      : queries(arena.take<uint32_t>(W::queries, "queries")),
        max(arena.take<float>(heads, "max")),
        sum(arena.take<float>(heads, "sum")),
        scales(arena.take<float>(H * kTileHeads * Tiles::splits, "scales")),
        out(arena.take<float>(sums, "out")) {}
};

// What a block computes: one split of a row's slots, for a part of a KV head's query heads.
template <class KV, int D, int H>
struct Split {
  const Head<KV, D>& h;
  int part, g0, heads;            // query heads [g0, g0 + heads) of the group
  int splits, split, first, end;  // of the row; of these the block's, slots [first, end)
  __device__ __forceinline__ Split(const Head<KV, D>& h, int part, int split)
      : h(h), part(part), g0(part * H * kTileHeads), split(split) {
    heads = min(H * kTileHeads, h.s.group - g0);
    splits = splits_of(h.live);
    first = split * split_slots(h.live);
    end = min(h.live, first + split_slots(h.live));
  }
  // A query head's place in out and lse; a tile's partials.
  __device__ __forceinline__ int64_t query(int head) const { return h.query(0) + g0 + head; }
  __device__ __forceinline__ int64_t partials(const StepScratch& scratch, int split, int tile) const {
    return scratch.partials(blockIdx.z, h.head, split, g0 / kTileHeads + tile);
  }
};

// A quad of a key rotated, with the quad of the other half that rotates with it. Called, not inlined: rotating is
// rare, and its registers would be the loop's.
template <class KV, int D>
struct Rotation {
  struct Halves {
    Quad at[2];
  };
  static __device__ __noinline__ Halves rotate(Halves k, int shift, int quad, int interleaved, const float* inv_freq) {
    using L = Layout<KV, D>;
    constexpr int e = L::per_quad;
    const Global<const float> frequency = global(inv_freq);
    float x[2][e];
    SKV_UNROLL for (int h = 0; h < 2; h++) decode_quad<KV>(k.at[h], x[h]);
    SKV_UNROLL for (int i = 0; i < e; i++) {  // a pair of neighbours in either quad, or of both quads
      const int h = i / (e / 2), j = i % (e / 2) * 2;
      if (interleaved) rotate_pair(&x[h][j], &x[h][j + 1], shift, frequency[(h * (D / 2) + quad * e + j) / 2]);
      else rotate_pair(&x[0][i], &x[1][i], shift, frequency[quad * e + i]);
    }
    SKV_UNROLL for (int h = 0; h < 2; h++)
      SKV_UNROLL for (int w = 0; w < 4; w++) k.at[h].word[w] = KV::encode(x[h] + w * KV::per_word);
    return k;
  }
};

// The queries of a part as the A operands of their products, scaled, then rounded as the keys are; zeros where the part
// or the vector ends. [quad of a lane][product of 16 dims][lane], four pairs each.
template <class KV, int D, int H>
SKV_INLINE void load_part(const Head<KV, D>& h, Shared<uint32_t> queries, int g0, int heads) {
  using W = DecodeShape<KV, D>;
  constexpr int words = 2 / KV::per_word;  // of a pair
  SKV_UNROLL for (int k = 0; k < ceil_div(W::keys * W::products * 32, kDecodeThreads); k++) {
    const int n = k * kDecodeThreads + threadIdx.x;
    if (n >= W::keys * W::products * 32) break;
    const int i = n / 32 / W::products, m = n / 32 % W::products, g = n % 32 / 4, t = n % 4;
    Quad out[words];
    SKV_UNROLL for (int r = 0; r < 4; r++) {
      const int head = r % 2 * kTileHeads + g, d = (t + W::key_step(i, t)) * Layout<KV, D>::per_quad + 4 * m + r / 2 * 2;
      float x[2] = {0, 0};
      if (r % 2 < H && head < heads && W::has_key(i, t))
        load_pair(h.s, global(h.s.q), (h.query(0) + g0 + head) * D + d, x);
      const Pair<KV> pair = pair_of<KV>(x[0] * h.s.scale, x[1] * h.s.scale);
      SKV_UNROLL for (int w = 0; w < words; w++) out[(r * words + w) / 4].word[(r * words + w) % 4] = pair.word[w];
    }
    SKV_UNROLL for (int w = 0; w < words; w++) store_quad(queries, (n * words + w) * 4, out[w]);
  }
}

template <class KV>
SKV_INLINE void load_part_operand(Pair<KV>* a, Shared<const uint32_t> queries, int n) {
  constexpr int words = 2 / KV::per_word;
  Quad from[words];
  SKV_UNROLL for (int w = 0; w < words; w++) from[w] = load_quad(queries, (n * words + w) * 4);
  SKV_UNROLL for (int i = 0; i < 4 * words; i++) a[i / words].word[i % words] = from[i / 4].word[i % 4];
}

// What a lane reads of a page: quads that are under way together.
template <class KV, int D>
struct PageReads {
  using W = DecodeShape<KV, D>;
  using L = Layout<KV, D>;
  Global<const uint32_t> key, value;   // the lane's first quads
  int slots, g, t;                      // live slots of the page, or more; lane = 4 g + t
  Quad keys[2][2][W::keys_at_once];    // [slot][half][quad]
  Quad values[W::values_at_once][4];   // [quad][slot]

  // Quads c0 … of either half. Of slots that are not there: anything.
  __device__ __forceinline__ void fetch_keys(int c0) {
    SKV_UNROLL for (int i = 0; i < 2; i++)
      SKV_UNROLL for (int c = 0; c < 2 * W::keys_at_once; c++)
        keys[i][c % 2][c / 2] =
            stream_quad(key, 2 * i * L::row + W::key_step(c % 2 * W::of_half + c0 + c / 2, t) * 4);
  }
  // Of slots that are not there: the last one's, since nothing times 0 may be NaN.
  __device__ __forceinline__ void fetch_values(int c0) {
    SKV_UNROLL for (int c = 0; c < W::values_at_once; c++)
      SKV_UNROLL for (int i = 0; i < 4; i++)
        values[c][i] = stream_quad(value, min(4 * t + i, slots - 1) * L::row + W::value_step(c0 + c, g) * 4);
  }
  // Rotates the keys that fetch_keys(c0) has read. shift [2]: of the lane's slots.
  __device__ __forceinline__ void rotate_keys(const Step& s, const int* shift, int c0) {
    SKV_UNROLL for (int i = 0; i < 2; i++)
      SKV_UNROLL for (int c = 0; c < W::keys_at_once; c++) {
        typename Rotation<KV, D>::Halves both{{keys[i][0][c], keys[i][1][c]}};
        both = Rotation<KV, D>::rotate(both, shift[i], t + W::key_step(c0 + c, t), s.rope_interleaved, s.inv_freq);
        keys[i][0][c] = both.at[0];
        keys[i][1][c] = both.at[1];
      }
  }
  // Adds to the logits x [slots 0 … 7, slots 8 … 15][c of the product] what these keys have.
  __device__ __forceinline__ void multiply_keys(float (*x)[4], Shared<const uint32_t> queries, int c0) const {
    SKV_UNROLL for (int c = 0; c < 2 * W::keys_at_once; c++) {
      const int place = c % 2 * W::of_half + c0 + c / 2;
      SKV_UNROLL for (int m = 0; m < W::products; m++) {
        Pair<KV> a[4];
        load_part_operand<KV>(a, queries, (place * W::products + m) * 32 + threadIdx.x % 32);
        SKV_UNROLL for (int i = 0; i < 2; i++) {
          const Quad& key = keys[i][c % 2][c / 2];
          multiply<KV>(x[i], a, pair_in<KV>(key, 2 * m), pair_in<KV>(key, 2 * m + 1));
        }
      }
    }
  }
};

// A warp's running softmax. Lane 4 g + t has the maxima and sums of head g of each tile, the latter of the slots it has
// seen itself, and out of heads 2 t and 2 t + 1: of two neighbouring dims, four sums.
template <class KV, int D, int H>
struct DecodeSoftmax {
  using W = DecodeShape<KV, D>;
  float max[H], sum[H], out[H][W::registers / 4][4];

  __device__ __forceinline__ void clear() {
    SKV_UNROLL for (int n = 0; n < H; n++) {
      max[n] = -INFINITY;
      sum[n] = 0;
      SKV_UNROLL for (int i = 0; i < W::registers; i++) out[n][i / 4][i % 4] = 0;
    }
  }
  // Logits of four slots become weights, as a B operand; what was added before is scaled to the new maximum.
  __device__ __forceinline__ void weigh(int n, float* w, Pair<KV>* weights) {
    float best = fmaxf(max[n], fmaxf(fmaxf(w[0], w[1]), fmaxf(w[2], w[3])));
    best = fmaxf(best, __shfl_xor_sync(kFull, best, 1));
    best = fmaxf(best, __shfl_xor_sync(kFull, best, 2));
    const float scale = scale_of(max[n], best);
    max[n] = best;
    sum[n] *= scale;
    SKV_UNROLL for (int i = 0; i < 4; i++) {
      w[i] = scale_of(w[i], best);
      sum[n] += w[i];
    }
    SKV_UNROLL for (int i = 0; i < 2; i++) weights[i] = pair_of<KV>(w[2 * i], w[2 * i + 1]);
    const int t = threadIdx.x % 4;
    const float scales[2] = {__shfl_sync(kFull, scale, 8 * t), __shfl_sync(kFull, scale, 8 * t + 4)};
    SKV_UNROLL for (int i = 0; i < W::registers; i++) out[n][i / 4][i % 4] *= scales[i % 2];
  }
  // Adds two dims of a quad of four slots: to four sums, the r-th of the lane.
  __device__ __forceinline__ void add(int r, const Quad* slots, int pair, const Pair<KV> (*weights)[2]) {
    Pair<KV> a[4];
    SKV_UNROLL for (int i = 0; i < 4; i++)
      a[i] = pair_across<KV>(slots[i / 2 * 2], slots[i / 2 * 2 + 1], pair * 2 + i % 2);
    SKV_UNROLL for (int n = 0; n < H; n++) multiply<KV>(out[n][r], a, weights[n][0], weights[n][1]);
  }
  // For the other warps. The four lanes of a head have summed the weights of their own slots: together.
  __device__ __forceinline__ void store(const DecodeMemory<KV, D, H>& memory) {
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    SKV_UNROLL for (int n = 0; n < H; n++) {
      sum[n] += __shfl_xor_sync(kFull, sum[n], 1);
      sum[n] += __shfl_xor_sync(kFull, sum[n], 2);
      const int at = warp * H + n;
      if (t == 0) {
        memory.max[at * kTileHeads + g] = max[n];
        memory.sum[at * kTileHeads + g] = sum[n];
      }
      SKV_UNROLL for (int i = 0; i < W::registers; i++)
        memory.out[(at * W::registers + i) * 32 + t * 8 + g] = out[n][i / 4][i % 4];
    }
  }
};

// Merges what the block's warps have stored: the split's partials, or, where the row has no other split, its answer. A
// thread has every fourth pair of neighbouring dims of one head of each tile.
template <class KV, int D, int H>
SKV_INLINE void merge_warps(const Split<KV, D, H>& split, const StepScratch& scratch,
                            const DecodeMemory<KV, D, H>& memory) {
  using W = DecodeShape<KV, D>;
  const Step& s = split.h.s;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const Global<float> partials = global(s.logits);
  SKV_UNROLL for (int n = 0; n < H; n++) {
    const int64_t at = split.partials(scratch, split.split, n);
    const int column = lane / 8 * 2 + warp % 2;  // of a product: the head of this thread
    float best = -INFINITY, total = 0, scale[kDecodeWarps];
    SKV_UNROLL for (int w = 0; w < kDecodeWarps; w++) best = fmaxf(best, memory.max[(w * H + n) * kTileHeads + column]);
    SKV_UNROLL for (int w = 0; w < kDecodeWarps; w++) {
      scale[w] = scale_of(memory.max[(w * H + n) * kTileHeads + column], best);
      total += memory.sum[(w * H + n) * kTileHeads + column] * scale[w];
    }
    const int head = n * kTileHeads + column;
    if (head >= split.heads) continue;
    if (lane % 8 == 0 && warp < 2) {
      if (split.splits == 1) {
        global(s.lse)[split.query(head)] = best + skv_log(total);
      } else {
        partials[at + column] = best;
        partials[at + kTileHeads + column] = total;
      }
    }
    for (int i = warp; i < W::registers / 2; i += kDecodeWarps) {
      float value[2] = {0, 0};
      SKV_UNROLL for (int e = 0; e < 2; e++)
        SKV_UNROLL for (int w = 0; w < kDecodeWarps; w++)
          value[e] += memory.out[((w * H + n) * W::registers + W::register_of(i) + 2 * e) * 32 + lane] * scale[w];
      if (split.splits > 1) {
        SKV_UNROLL for (int e = 0; e < 2; e++)
          partials[at + 2 * kTileHeads + (W::register_of(i) + 2 * e) * 32 + lane] = value[e];
      } else if (W::dim_of(i, lane % 8) < D) {
        value[0] *= 1.0f / total;
        value[1] *= 1.0f / total;
        store_pair(s, global(s.out), split.query(head) * D + W::dim_of(i, lane % 8), value);
      }
    }
  }
}

// Merges the splits of a part: every lane has the sums that it would have had, had one block read all slots.
template <class KV, int D, int H>
SKV_INLINE void merge_splits(const Split<KV, D, H>& split, const StepScratch& scratch, Shared<float> scales) {
  using W = DecodeShape<KV, D>;
  const Step& s = split.h.s;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, splits = split.splits, heads = split.heads;
  const Global<const float> partials = global((const float*)s.logits);
  static_assert(Tiles::splits == 32, "a lane has a split");
  for (int head = warp; head < heads; head += kDecodeWarps) {
    const int64_t at = split.partials(scratch, lane, head / kTileHeads) + head % kTileHeads;
    float max = lane < splits ? (float)partials[at] : -INFINITY;
    float sum = lane < splits ? (float)partials[at + kTileHeads] : 0.0f;
    float best = max;
    SKV_UNROLL for (int n = 16; n > 0; n /= 2) best = fmaxf(best, __shfl_xor_sync(kFull, best, n));
    const float scale = scale_of(max, best);
    sum *= scale;
    SKV_UNROLL for (int n = 16; n > 0; n /= 2) sum += __shfl_xor_sync(kFull, sum, n);
    scales[head * Tiles::splits + lane] = scale / sum;
    if (lane == 0) global(s.lse)[split.query(head)] = best + skv_log(sum);
  }
  __syncthreads();
  constexpr int all = H * W::registers / 2, mine = all / kDecodeWarps;  // pairs of neighbouring dims
  static_assert(all % kDecodeWarps == 0 && kDecodeWarps % 2 == 0, "a thread's pairs are of one parity of heads");
  auto tile_of = [&](int i) { return (warp + i * kDecodeWarps) / (W::registers / 2); };
  auto nth_of = [&](int i) { return (warp + i * kDecodeWarps) % (W::registers / 2); };
  auto head_of = [&](int i) { return tile_of(i) * kTileHeads + lane / 8 * 2 + warp % 2; };
  const Global<const float> out = partials + (split.partials(scratch, 0, 0) + 2 * kTileHeads + lane);
  const int size = scratch.partials_size, all_tiles = scratch.tiles * size;
  float value[mine][2];
  SKV_UNROLL for (int i = 0; i < mine; i++) value[i][0] = value[i][1] = 0;
  SKV_UNROLL_4 for (int k = 0; k < splits; k++)
    SKV_UNROLL for (int i = 0; i < mine; i++) {
      if (head_of(i) >= heads) continue;
      const int at = k * all_tiles + tile_of(i) * size + W::register_of(nth_of(i)) * 32;
      const float scale = scales[head_of(i) * Tiles::splits + k];
      value[i][0] = fmaf(out[at], scale, value[i][0]);
      value[i][1] = fmaf(out[at + 64], scale, value[i][1]);
    }
  SKV_UNROLL for (int i = 0; i < mine; i++) {
    const int d = W::dim_of(nth_of(i), lane % 8);
    if (head_of(i) < heads && d < D) store_pair(s, global(s.out), split.query(head_of(i)) * D + d, value[i]);
  }
}

// One function: what it has under way, a page's keys and values, their logits and weights, fills the registers,
// and all of it is alive across the loop.
template <class A, class KV, int D, int H>
__global__ void __launch_bounds__(kDecodeThreads, H == 1 && !DecodeShape<KV, D>::wide && !A::shift_lane ? 3 : 1)
    decode_kernel(Step s, int max_rows) {
  using W = DecodeShape<KV, D>;
  using L = Layout<KV, D>;
  const skv_row row = load_row(s, blockIdx.z);
  if (row.policy != s.self || !is_decode(row)) return;
  const int parts = gridDim.y / s.kv_heads;
  const Head<KV, D> h(s, row, s.layer, blockIdx.y / parts);
  const Split<KV, D, H> split(h, blockIdx.y % parts, blockIdx.x);
  if (split.split >= split.splits) return;

  Arena arena;
  const DecodeMemory<KV, D, H> memory(arena);
  const StepScratch scratch(s, D, max_rows);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const bool observed = A::observes_decode && !s.window && row.observe1 > row.observe0;
  int32_t number = 0;  // of the next page: looked up a page ahead
  const int page0 = split.first / SKV_PAGE + warp, end = split.end;
  if (page0 * SKV_PAGE < end) {
    number = h.table[page0];
    for (int i = lane * 32; i < L::lanes; i += 32 * 32) prefetch(h.numbered(number), i);  // while queries are read
  }
  load_part<KV, D, H>(h, memory.queries, split.g0, split.heads);
  __syncthreads();

  DecodeSoftmax<KV, D, H> softmax;
  softmax.clear();
  SKV_LOOP for (int p = page0; p * SKV_PAGE < end; p += kDecodeWarps) {
    const Global<const uint32_t> page = h.numbered(number);
    PageReads<KV, D> read;
    read.key = page + (W::slot_of(g, 0) * L::row + t * 4);
    read.value = page + (h.values + g * 4);
    read.slots = end - p * SKV_PAGE;
    read.g = g;
    read.t = t;
    if ((p + kDecodeWarps) * SKV_PAGE < end) number = h.table[p + kDecodeWarps];
    int shift[2] = {0, 0};
    if (A::shift_lane && s.inv_freq)
      SKV_UNROLL for (int i = 0; i < 2; i++)
        if (W::slot_of(g, i) < read.slots)
          shift[i] = (int)page[h.lanes + A::shift_lane * SKV_PAGE + W::slot_of(g, i)];
    read.fetch_keys(0);
    if (W::early) read.fetch_values(0);
    __syncwarp();  // all are under way before the first product: the compiler would move some behind it
    const bool rotates = A::shift_lane && __any_sync(kFull, shift[0] != 0 || shift[1] != 0);
    float x[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};  // columns 2 t, 2 t + 1 of either eight slots, heads g and g + 8
    SKV_UNROLL for (int c0 = 0; c0 < W::of_half; c0 += W::keys_at_once) {
      if (c0) read.fetch_keys(c0);
      if (rotates) read.rotate_keys(s, shift, c0);
      read.multiply_keys(x, memory.queries, c0);
    }
    Pair<KV> weights[H][2];
    const int from = s.window ? h.live - s.window - p * SKV_PAGE : 0;  // of the page, that the token sees
    SKV_UNROLL for (int n = 0; n < H; n++) {
      float w[4];  // of slots 4 t …: logits, then weights
      SKV_UNROLL for (int i = 0; i < 4; i++) w[i] = x[i / 2][2 * n + i % 2];
      if (s.soft_cap > 0)
        SKV_UNROLL for (int i = 0; i < 4; i++) w[i] = capped(w[i], s.soft_cap);
      SKV_UNROLL for (int i = 0; i < 4; i++)
        if (4 * t + i < from || 4 * t + i >= read.slots) w[i] = -INFINITY;
      if (A::observes_decode && observed && n * kTileHeads + g < split.heads) {
        Quad quad;
        SKV_UNROLL for (int i = 0; i < 4; i++) quad.word[i] = F32::encode(w + i);
        const int64_t logits = scratch.logit(blockIdx.z, h.head, split.g0 + n * kTileHeads + g);
        store_quad(global((uint32_t*)s.logits), logits + p * SKV_PAGE + 4 * t, quad);
      }
      softmax.weigh(n, w, weights[n]);
    }
    SKV_UNROLL for (int c0 = 0; c0 < W::values; c0 += W::values_at_once) {
      if (c0 || !W::early) read.fetch_values(c0);
      SKV_UNROLL for (int r = 0; r < W::values_at_once * W::pairs; r++)
        softmax.add(c0 * W::pairs + r, read.values[r / W::pairs], r % W::pairs, weights);
    }
  }
  softmax.store(memory);
  __syncthreads();
  merge_warps(split, scratch, memory);
  if (split.splits == 1) return;
  const int64_t counter = StepScratch::counter(s.kv_heads, blockIdx.z, h.head, split.part);
  if (arrive_last(global((uint32_t*)s.logits), counter, split.splits)) merge_splits(split, scratch, memory.scales);
}
