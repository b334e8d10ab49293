// Draws of tokens from logits: a block a draw. The same draws as the CPU's (cpu/sampler.cpp), bit for bit:
// probabilities come from the same arithmetic (skv_exp), and every sum whose rounding a draw depends on has the CPU's
// order:
//
//   total        number i of a piece of 1024 is added in lane i % 16, in f32; a piece's lanes in order, in f64;
//                pieces in order, in f64
//   best tokens  their probabilities in order, best first, in f64, by one thread
//
// What has no such bits on both sides, a logarithm in f64, is left to the host: it gets the sum under it.
//
//   draw_kernel   grid (draws)   logits [draw][vocab] f32, the draws' records -> drawn. A plain greedy draw reads its
//                                logits once; others a few times, out of the caches, and write 12 bytes a token
#pragma once
#include "cuda/layout.cuh"
#include "backend_records.h"
#include "draw_numbers.h"

constexpr int kDrawThreads = 512, kDrawWarps = kDrawThreads / 32;
constexpr int kSumPiece = skv::kSumPiece, kSumLanes = 16;
constexpr int kBatch = 2048;  // tokens that are sorted at once
constexpr int kBins = 256;

// What a draw came to, as the device tells it.
struct Drawn {
  int32_t token;
  float logit, top;  // of the token; the largest of what may be drawn
  int32_t unused;
  double sum;                              // of e^(logit - top)
  int32_t alternatives[SKV_MAX_LOGPROBS];  // -1: no more
  float alternative_logits[SKV_MAX_LOGPROBS];
};

// Arrays that draws read and write. Rows [vocab] are those of blockIdx.x.
struct Draws {
  const skv_sampler* sampler;  // [draw]
  const float* logits;         // [draw][vocab]
  const int32_t *history, *bias_token, *mask;
  const float* bias_value;
  float* adjusted;  // [draw][vocab] after mask, penalties and bias
  float* prob;      // [draw][vocab] relative to the best token's; before that, counts
  int32_t* order;   // [draw][vocab] tokens, best first, as far as they were wanted; before that, counts
  Drawn* drawn;     // [draw]
  int vocab;
};

SKV_BOTH constexpr int draw_pieces(int vocab) { return ceil_div(vocab, kSumPiece); }

// A block's shared memory.
struct DrawMemory {
  Shared<uint64_t> keys;     // [kBatch]
  Shared<double> pieces;     // [draw_pieces] sums of probabilities
  Shared<float> lanes;       // [draw_pieces][kSumLanes]
  Shared<float> walked;      // [kSumPiece] probabilities that one thread adds
  Shared<int> bins;          // [kBins]
  Shared<float> warp_logit;  // [kDrawWarps]
  Shared<int> warp_token;    // [kDrawWarps]
  Shared<double> sums;       // [2] what a walk has come to
  Shared<int> found;         // [6] what one thread tells the others
  __device__ __forceinline__ DrawMemory(Arena& arena, int vocab)
      : keys(arena.take<uint64_t>(kBatch, "keys")),
        pieces(arena.take<double>(draw_pieces(vocab), "sums of pieces")),
        lanes(arena.take<float>(draw_pieces(vocab) * kSumLanes, "sums of lanes")),
        walked(arena.take<float>(kSumPiece, "probabilities")),
        bins(arena.take<int>(kBins, "bins")),
        warp_logit(arena.take<float>(kDrawWarps, "logits of warps")),
        warp_token(arena.take<int>(kDrawWarps, "tokens of warps")),
        sums(arena.take<double>(2, "sums")),
        found(arena.take<int>(6, "found")) {}
};

SKV_BOTH constexpr int draw_shared(int vocab) {
  return kBatch * 8 + (draw_pieces(vocab) * 8 + 15) / 16 * 16 + draw_pieces(vocab) * kSumLanes * 4 + kSumPiece * 4 +
         kBins * 4 + 2 * kDrawWarps * 4 + 16 + 32;
}

SKV_INLINE skv_sampler load_sampler(const skv_sampler* from, int64_t i) {
  union {
    skv_sampler record;
    int32_t word[sizeof(skv_sampler) / 4];
  } out;
  const Global<const int32_t> words = global((const int32_t*)(from + i));
  SKV_UNROLL for (int w = 0; w < int(sizeof(skv_sampler) / 4); w++) out.word[w] = words[w];
  return out.record;
}

// Which of two tokens: a larger logit, or the lower token with the same. Who has none has token `vocab`.
SKV_INLINE void keep_better(float& logit, int& token, float other, int other_token) {
  const bool better = other > logit || (other == logit && other_token < token);
  logit = better ? other : logit;
  token = better ? other_token : token;
}

struct Best {
  float logit;
  int token;
};

// The best of read(token) over [0, vocab), the same in all threads; NaN is left out. Token `vocab`: all are NaN.
template <class Read>
SKV_INLINE Best best_of(const DrawMemory& m, int vocab, Read read) {
  float logit = -INFINITY;
  int token = vocab;
  for (int t = threadIdx.x; t < vocab; t += kDrawThreads) keep_better(logit, token, read(t), t);
  SKV_UNROLL for (int n = 16; n > 0; n /= 2) {
    const float other = __shfl_xor_sync(kFull, logit, n);
    keep_better(logit, token, other, __shfl_xor_sync(kFull, token, n));
  }
  __syncthreads();  // whoever read these before
  if (threadIdx.x % 32 == 0) {
    m.warp_logit[threadIdx.x / 32] = logit;
    m.warp_token[threadIdx.x / 32] = token;
  }
  __syncthreads();
  logit = m.warp_logit[0];
  token = m.warp_token[0];
  for (int w = 1; w < kDrawWarps; w++) keep_better(logit, token, m.warp_logit[w], m.warp_token[w]);
  return {logit, token};
}

// e^((x - top) * scale), 0 below e^-87 and where that is no number.
SKV_INLINE float relative_probability(float x, float top, float scale) {
  const float at = (x - top) * scale;
  return at >= -87.0f ? skv_exp(at) : 0.0f;
}

// Probabilities of read(token), those below `least` as 0, into prob; their sums by piece, and of all, which is returned.
template <class Read>
SKV_INLINE double softmax_of(const DrawMemory& m, Global<float> prob, int vocab, float top, float scale, float least,
                             Read read) {
  const int pieces = draw_pieces(vocab);
  for (int i = threadIdx.x; i < pieces * kSumLanes; i += kDrawThreads) {
    const int end = smaller(vocab, (i / kSumLanes + 1) * kSumPiece);
    float sum = 0;
    SKV_LOOP for (int t = i / kSumLanes * kSumPiece + i % kSumLanes; t < end; t += kSumLanes) {
      float p = relative_probability(read(t), top, scale);
      p = p < least ? 0.0f : p;
      prob[t] = p;
      sum += p;
    }
    m.lanes[i] = sum;
  }
  __syncthreads();
  for (int p = threadIdx.x; p < pieces; p += kDrawThreads) {
    double sum = 0;
    for (int l = 0; l < kSumLanes; l++) sum += (double)(float)m.lanes[p * kSumLanes + l];
    m.pieces[p] = sum;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double total = 0;
    for (int p = 0; p < pieces; p++) total += (double)m.pieces[p];
    m.sums[1] = total;
  }
  __syncthreads();
  return m.sums[1];
}

// One thread goes over probabilities [from, end) of read(i), which all threads fetch: step(probability, i) is false where
// it has seen enough. Ends behind a barrier.
template <class Read, class Step>
SKV_INLINE void walk(const DrawMemory& m, int from, int end, Read read, Step step) {
  for (int first = from; first < end; first += kSumPiece) {
    const int n = smaller(kSumPiece, end - first);
    for (int i = threadIdx.x; i < n; i += kDrawThreads) m.walked[i] = read(first + i);
    __syncthreads();
    if (threadIdx.x == 0) {
      int i = 0;
      while (i < n && step((float)m.walked[i], first + i)) i++;
      m.found[0] = i < n;
    }
    __syncthreads();
    if (m.found[0]) return;
  }
}

// The place at which the sum over [from, end) passes `at`: the last with a probability, where rounding has it pass none.
template <class Read>
SKV_INLINE int place_of(const DrawMemory& m, int from, int end, double at, Read read) {
  int last = from;  // thread 0's
  walk(m, from, end, read, [&](float p, int i) {
    if (p == 0) return true;
    last = i;
    at -= (double)p;
    return !(at < 0);
  });
  if (threadIdx.x == 0) m.found[1] = last;
  __syncthreads();
  return m.found[1];
}
