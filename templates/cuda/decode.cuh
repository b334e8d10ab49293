// attend, generated tokens: one query per row against its pages, all query heads of a KV head per load of K and V.
//
//   grid (splits, kv_heads * parts, rows), 128 threads; a part is up to G query heads
//
// A row is cut into at most Tiles::splits splits of a multiple of Tiles::split slots, by its own length and nothing else:
// its bits do not depend on the batch. Splits are dealt out evenly: with as many blocks as a row may have splits, one or none
// each, so that blocks are many and the last ones end together.
// In a split, warp w takes pages w, w + 4, …; L lanes own a slot, each a 16-byte chunk (or two) of its key and value,
// straight from memory to registers: four loads of K and four of V under way per lane, 4 KiB a warp. Each group
// of L lanes keeps its own running softmax; groups, then warps, meet once at the end of the split.
//
//   bytes: 2 d b per slot, read once, plus 4 (d + 2) g per split written, and read again from L2 (1.6 % at d = 128, g = 4);
//   a policy that observes adds 4 g per slot written. Bound by memory: about 125 instructions a warp for 1 KiB at g = 4.
#pragma once
#include "turn.cuh"

constexpr int kDecodeThreads = 128, kDecodeWarps = kDecodeThreads / 32;

SKV_BOTH int split_slots(int live) { return divided(divided(live, Tiles::split), Tiles::splits) * Tiles::split; }
SKV_BOTH int splits_of(int live) { return live > 0 ? divided(live, split_slots(live)) : 0; }

// Where attend leaves what merge and accumulate need.
//   shares [row][kv_head][split][group][dim + 2]: top logit, sum, values    logits [row][kv_head][group][max_slots]
struct Left {
  int64_t kv_heads, group, dim, slots, logits0;
  SKV_BOTH int64_t share_floats(const skv_shape* s) {
    return (int64_t)s->max_rows * s->kv_heads * Tiles::splits * s->group * (s->head_dim + 2);
  }
  SKV_BOTH int64_t floats(const skv_shape* s, bool observes) {
    return share_floats(s) + (observes ? (int64_t)s->max_rows * s->kv_heads * s->group * s->max_slots : 0);
  }
  __device__ __forceinline__ Left(const Step& s, int dim, int max_rows)
      : kv_heads(s.kv_heads), group(s.group), dim(dim), slots(s.max_slots),
        logits0((int64_t)max_rows * s.kv_heads * Tiles::splits * s.group * (dim + 2)) {}
  __device__ __forceinline__ int64_t share(int r, int head, int split, int g) const {
    return (((r * kv_heads + head) * Tiles::splits + split) * group + g) * (dim + 2);
  }
  __device__ __forceinline__ int64_t logit(int r, int head, int g) const {
    return logits0 + ((r * kv_heads + head) * group + g) * slots;
  }
};

// How a warp shares out the slots of a page.
template <class KV, int D, int G>
struct DecodeShape {
  static constexpr int chunks = Layout<KV, D>::chunks;
  static constexpr int lanes = chunks <= 8 ? 8 : chunks <= 16 ? 16 : 32;  // of a slot
  static constexpr int mine = divided(chunks, lanes);                     // chunks of a lane
  static constexpr int elements = mine * Layout<KV, D>::per_chunk;        // of a lane: at most 8
  static constexpr int groups = 32 / lanes;                               // slots at once
  static constexpr int passes = SKV_PAGE / groups;                        // of a page
  static constexpr int tile = smaller(passes, (G > 4 ? 2 : 4) / mine);  // passes whose loads are under way together
};

// A lane's elements of one slot's key, turned; all lanes of the warp take part. Called, not inlined: turning is rare, and
// its registers would be the loop's.
template <class KV, int D, int G>
struct Turn {
  using W = DecodeShape<KV, D, G>;
  struct Elements {
    float at[W::elements];
  };
  static __device__ __noinline__ Elements turn(Elements k, int shift, int sub, int interleaved, const float* inv_freq) {
    constexpr int e = Layout<KV, D>::per_chunk, half = W::chunks / 2;
    Elements other;
    if (interleaved) {
      SKV_UNROLL for (int i = 0; i < W::elements; i++) other.at[i] = k.at[i ^ 1];
    } else if (W::mine == 2) {  // the halves of a vector are the lane's two chunks
      SKV_UNROLL for (int i = 0; i < W::elements; i++) other.at[i] = k.at[(i + e) % W::elements];
    } else {
      const int partner = sub < half ? sub + half : sub < W::chunks ? sub - half : sub;
      const int from = threadIdx.x % 32 / W::lanes * W::lanes + partner;
      SKV_UNROLL for (int i = 0; i < W::elements; i++) other.at[i] = __shfl_sync(kFull, k.at[i], from);
    }
    SKV_UNROLL for (int i = 0; i < W::elements; i++) {
      const int d = (i / e * W::lanes + sub) * e + i % e;
      if (d >= D) continue;
      bool first;
      float c, n;
      const int f = frequency_of(interleaved, d, D, &first);
      turn_of(shift, global(inv_freq)[f], &c, &n);
      k.at[i] = turned(k.at[i], other.at[i], first, c, n);
    }
    return k;
  }
};

// The running softmax of up to G query heads, in a group of lanes: top and sum are the same in all of them.
template <int G, int E>
struct Running {
  float top[G], sum[G], values[G][E];

  SKV_INLINE float scale_of(float old, float top) { return old == -INFINITY ? 0.0f : exp2_fast((old - top) * kLog2e); }

  __device__ __forceinline__ void clear() {
    SKV_UNROLL for (int g = 0; g < G; g++) {
      top[g] = -INFINITY, sum[g] = 0;
      SKV_UNROLL for (int e = 0; e < E; e++) values[g][e] = 0;
    }
  }
  // Adds what the lanes `distance` away hold.
  __device__ __forceinline__ void merge(int distance) {
    SKV_UNROLL for (int g = 0; g < G; g++) {
      const float other_top = __shfl_xor_sync(kFull, top[g], distance);
      const float other_sum = __shfl_xor_sync(kFull, sum[g], distance);
      const float best = fmaxf(top[g], other_top), a = scale_of(top[g], best), b = scale_of(other_top, best);
      sum[g] = sum[g] * a + other_sum * b, top[g] = best;  // addition commutes: the same bits in all lanes
      SKV_UNROLL for (int e = 0; e < E; e++) {
        const float other = __shfl_xor_sync(kFull, values[g][e], distance);
        values[g][e] = values[g][e] * a + other * b;
      }
    }
  }
};

template <class P, class KV, int D, int G>
__global__ void __launch_bounds__(kDecodeThreads) decode_kernel(Step s, int max_rows) {
  using W = DecodeShape<KV, D, G>;
  using L = Layout<KV, D>;
  constexpr int E = W::elements;
  const skv_row row = load_row(s, blockIdx.z);
  if (row.policy != s.self || !is_decode(row)) return;
  const int parts = divided(s.group, G), g0 = blockIdx.y % parts * G, heads = min(G, s.group - g0);
  const Head<KV, D> h(s, row, s.layer, blockIdx.y / parts);
  const int splits = splits_of(h.live), length = split_slots(h.live);
  const int split0 = splits * blockIdx.x / gridDim.x, split1 = splits * (blockIdx.x + 1) / gridDim.x;
  if (split0 >= split1) return;

  Arena arena;
  const Shared<float> tops = arena.take<float>(kDecodeWarps * G, "tops");
  const Shared<float> sums = arena.take<float>(kDecodeWarps * G, "sums");
  const Shared<float> parts_of = arena.take<float>(kDecodeWarps * G * D, "values");          // [warp][g][D]
  const Shared<float> staged = arena.take<float>(kDecodeWarps * G * SKV_PAGE, "staged");     // [warp][g][slot]
  const Left left(s, D, max_rows);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, sub = lane % W::lanes, which = lane / W::lanes;
  const bool observed = P::observes_decode && row.observe1 > row.observe0;

  float q[G][E];  // scaled, then rounded as the keys are; zeros where the part or the vector ends
  SKV_UNROLL for (int g = 0; g < G; g++)
    SKV_UNROLL for (int e = 0; e < E; e += 2) {
      const int d = (e / L::per_chunk * W::lanes + sub) * L::per_chunk + e % L::per_chunk;
      q[g][e] = q[g][e + 1] = 0;
      if (g < heads && d < D) {
        load_pair(s, global(s.q), (h.query(0) + g0 + g) * D + d, &q[g][e]);
        q[g][e] = rounded<KV>(q[g][e] * s.scale), q[g][e + 1] = rounded<KV>(q[g][e + 1] * s.scale);
      }
    }

  for (int split = split0; split < split1; split++) {
    const int end = min(h.live, (split + 1) * length);
    Running<G, E> run;
    run.clear();
    int32_t number = 0;  // of the next page: looked up a page ahead
    const int page0 = split * length / SKV_PAGE + warp;
    if (page0 * SKV_PAGE < end) number = h.table[page0];
    SKV_LOOP for (int p = page0; p * SKV_PAGE < end; p += kDecodeWarps) {
      const Global<const uint32_t> page = h.numbered(number);
      if ((p + kDecodeWarps) * SKV_PAGE < end) number = h.table[p + kDecodeWarps];
      SKV_LOOP for (int pass0 = 0; pass0 < W::passes; pass0 += W::tile) {
        Chunk keys[W::tile][W::mine], values[W::tile][W::mine];
        SKV_UNROLL for (int i = 0; i < W::tile; i++)
          SKV_UNROLL for (int c = 0; c < W::mine; c++) {
            const int slot = (pass0 + i) * W::groups + which, chunk = c * W::lanes + sub;
            keys[i][c] = values[i][c] = Chunk{};  // what is not there must not be NaN
            if (chunk < W::chunks && p * SKV_PAGE + slot < end) {
              keys[i][c] = stream_chunk(page, slot * L::row + chunk * 4);
              values[i][c] = stream_chunk(page, h.values + slot * L::row + chunk * 4);
            }
          }
        float x[W::tile][G];
        SKV_UNROLL for (int i = 0; i < W::tile; i++) {
          const int slot = (pass0 + i) * W::groups + which;
          const bool there = p * SKV_PAGE + slot < end;
          typename Turn<KV, D, G>::Elements k;
          SKV_UNROLL for (int c = 0; c < W::mine; c++) decode_chunk<KV>(keys[i][c], k.at + c * L::per_chunk);
          if (P::shift_lane) {
            const int shift = there ? (int)page[h.lanes + P::shift_lane * SKV_PAGE + slot] : 0;
            if (__any_sync(kFull, shift != 0)) k = Turn<KV, D, G>::turn(k, shift, sub, s.rope_interleaved, s.inv_freq);
          }
          SKV_UNROLL for (int g = 0; g < G; g++) {
            float sum = 0;
            SKV_UNROLL for (int e = 0; e < E; e++) sum = fmaf(q[g][e], k.at[e], sum);
            SKV_UNROLL for (int n = W::lanes / 2; n > 0; n /= 2) sum += __shfl_xor_sync(kFull, sum, n);
            x[i][g] = there ? sum : -INFINITY;
          }
        }
        if (P::observes_decode && observed)
          SKV_UNROLL for (int i = 0; i < W::tile; i++)
            SKV_UNROLL for (int g = 0; g < G; g++)
              if (sub == i) staged[(warp * G + g) * SKV_PAGE + (pass0 + i) * W::groups + which] = x[i][g];
        SKV_UNROLL for (int g = 0; g < G; g++) {
          float top = run.top[g];
          SKV_UNROLL for (int i = 0; i < W::tile; i++) top = fmaxf(top, x[i][g]);
          const float scale = run.scale_of(run.top[g], top);
          run.top[g] = top;
          run.sum[g] *= scale;
          SKV_UNROLL for (int e = 0; e < E; e++) run.values[g][e] *= scale;
          SKV_UNROLL for (int i = 0; i < W::tile; i++) {
            x[i][g] = run.scale_of(x[i][g], top);  // now the weight
            run.sum[g] += x[i][g];
          }
        }
        SKV_UNROLL for (int i = 0; i < W::tile; i++) {
          float v[E];
          SKV_UNROLL for (int c = 0; c < W::mine; c++) decode_chunk<KV>(values[i][c], v + c * L::per_chunk);
          SKV_UNROLL for (int g = 0; g < G; g++)
            SKV_UNROLL for (int e = 0; e < E; e++) run.values[g][e] = fmaf(x[i][g], v[e], run.values[g][e]);
        }
      }
      if (P::observes_decode && observed) {  // a page's logits, whole lines
        __syncwarp();
        for (int i = lane; i < heads * SKV_PAGE; i += 32) {
          const int g = i / SKV_PAGE, slot = p * SKV_PAGE + i % SKV_PAGE;
          if (slot < end) global(s.logits)[left.logit(blockIdx.z, h.head, g0 + g) + slot] = staged[warp * G * SKV_PAGE + i];
        }
        __syncwarp();
      }
    }
    SKV_UNROLL for (int n = W::lanes; n < 32; n *= 2) run.merge(n);
    if (which == 0)
      SKV_UNROLL for (int g = 0; g < G; g++) {
        if (sub == 0) tops[warp * G + g] = run.top[g], sums[warp * G + g] = run.sum[g];
        SKV_UNROLL for (int e = 0; e < E; e++) {
          const int d = (e / L::per_chunk * W::lanes + sub) * L::per_chunk + e % L::per_chunk;
          if (d < D) parts_of[(warp * G + g) * D + d] = run.values[g][e];
        }
      }
    __syncthreads();
    for (int i = threadIdx.x; i < heads * D; i += kDecodeThreads) {
      const int g = i / D, d = i % D;
      float top = -INFINITY, sum = 0, value = 0;
      for (int w = 0; w < kDecodeWarps; w++) top = fmaxf(top, tops[w * G + g]);
      for (int w = 0; w < kDecodeWarps; w++) {
        const float scale = run.scale_of(tops[w * G + g], top);
        sum += sums[w * G + g] * scale;
        value += parts_of[(w * G + g) * D + d] * scale;
      }
      const Global<float> share = global(s.logits) + left.share(blockIdx.z, h.head, split, g0 + g);
      if (d == 0) share[0] = top, share[1] = sum;
      share[2 + d] = value;
    }
    __syncthreads();
  }
}

template <class KV, int D, int G>
SKV_BOTH constexpr int decode_shared() {
  return (kDecodeWarps * G * 2 + kDecodeWarps * G * D + kDecodeWarps * G * SKV_PAGE) * 4 + 64;
}
