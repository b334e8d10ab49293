// A draw from its record to its token: mask, penalties, bias, then the largest logit or a random one.
#pragma once
#include "draw_best.cuh"

// Raw logits of what may be drawn, -inf elsewhere.
struct Allowed {
  Global<const float> logits;
  Global<const int32_t> mask;
  bool masked;
  __device__ __forceinline__ float operator()(int t) const {
    if (masked && !((uint32_t)mask[t / 32] >> (t % 32) & 1)) return -INFINITY;
    return logits[t];
  }
};

// Logits after penalties, into `x`. `seen` and `generated` [vocab] count occurrences, in all of the history and in what
// was generated.
template <class Read>
SKV_INLINE void penalise(const Draws& d, const skv_sampler& s, Global<float> x, Global<int> seen, Global<int> generated,
                         Read read) {
  for (int t = threadIdx.x; t < d.vocab; t += kDrawThreads) {
    seen[t] = 0;
    generated[t] = 0;
  }
  __syncthreads();
  if (skv::has_penalties(s))
    for (int i = s.history0 + threadIdx.x; i < s.history1; i += kDrawThreads) {
      const int token = global(d.history)[i];
      if (token < 0 || token >= d.vocab) continue;
      atomic_add(seen, token, 1);
      if (i >= s.generated0) atomic_add(generated, token, 1);
    }
  __syncthreads();
  for (int t = threadIdx.x; t < d.vocab; t += kDrawThreads) {
    float logit = read(t);
    if (s.repetition != 1 && seen[t] > 0) logit = logit > 0 ? logit / s.repetition : logit * s.repetition;
    if (const int count = generated[t]) logit -= s.presence + s.frequency * float(count);
    x[t] = logit;
  }
  __syncthreads();
}

// Biases in the order of their list: all of a token's by the thread that has its first.
SKV_INLINE void move_logits(const Draws& d, const skv_sampler& s, Global<float> x) {
  const Global<const int32_t> token_of_bias = global(d.bias_token);
  for (int i = s.bias0 + threadIdx.x; i < s.bias1; i += kDrawThreads) {
    const int token = token_of_bias[i];
    bool first = token >= 0 && token < d.vocab;
    for (int j = s.bias0; j < i && first; j++) first = token_of_bias[j] != token;
    if (!first) continue;
    float logit = x[token];
    for (int j = i; j < s.bias1; j++)
      if (token_of_bias[j] == token) logit += global(d.bias_value)[j];
    x[token] = logit;
  }
  __syncthreads();
}

// The token at which the sum of probabilities, in token order, passes `at`: piece by piece, then within one.
SKV_INLINE int draw_from_all(const DrawMemory& m, Global<float> prob, int vocab, double at) {
  if (threadIdx.x == 0) {
    int piece = -1, last = 0;
    for (int p = 0; p < draw_pieces(vocab) && piece < 0; p++) {
      const double sum = m.pieces[p];
      if (sum > 0) last = p;
      if (at < sum)
        piece = p;
      else
        at -= sum;
    }
    if (piece < 0) at = INFINITY;  // by rounding
    m.found[3] = piece < 0 ? last : piece;
  }
  __syncthreads();
  const int first = m.found[3] * kSumPiece, end = smaller(vocab, first + kSumPiece);
  return place_of(m, first, end, at, [&](int t) { return (float)prob[t]; });
}

// Top-k and top-p, then the draw among what they leave, best first.
SKV_INLINE int draw_from_best(const DrawMemory& m, const skv_sampler& s, Global<const float> x, Global<float> prob,
                              Global<int32_t> order, int vocab, double total) {
  const bool top_k = s.top_k > 0 && s.top_k < vocab;
  const auto key = [&](int t) { return prob[t] > 0 ? key_of(x[t], t) : 0; };
  const auto of_order = [&](int i) { return (float)prob[(int)order[i]]; };
  // thread 0's: the sum of the first `walked` probabilities; until it is enough mass, where that is asked for
  double mass = 0;
  int walked = 0;
  const auto sum_until = [&](int n, double enough) {
    walk(m, walked, n, of_order, [&](float p, int) {
      if (mass >= enough) return false;
      mass += (double)p;
      walked++;
      return true;
    });
    __syncthreads();
    if (threadIdx.x == 0) {
      m.sums[0] = mass;
      m.found[3] = walked;
    }
    __syncthreads();
    mass = m.sums[0];
    walked = m.found[3];
  };
  int n = 0;
  if (top_k) {
    n = best_in_order(m, order, vocab, s.top_k, key, [](int) { return false; });
    sum_until(n, INFINITY);
    total = mass;
    if (s.top_p < 1) {
      mass = 0;
      walked = 0;
      sum_until(n, (double)s.top_p * total);
    }
  } else {
    const double enough = (double)s.top_p * total;
    n = best_in_order(m, order, vocab, vocab, key, [&](int sorted) {
      sum_until(sorted, enough);
      return mass >= enough;
    });
    sum_until(n, enough);  // of the last batch
  }
  if (walked == 0) sum_until(1, INFINITY);  // the best one at least
  return order[place_of(m, 0, walked, skv::uniform_of(s) * mass, of_order)];
}

// What of a token's logits draws of this step come to, beside the token itself: into words of its Drawn.
SKV_INLINE void tell_logits(const Draws& d, const skv_sampler& s, const DrawMemory& m, const Allowed& allowed,
                            Global<float> prob, Global<int32_t> order, int token) {
  const float top = best_of(m, d.vocab, allowed).logit;
  const double sum = softmax_of(m, prob, d.vocab, top, 1, 0, allowed);
  const int most = smaller(smaller(s.logprobs, SKV_MAX_LOGPROBS), d.vocab);
  int n = 0;
  if (most > 0) {
    const auto key = [&](int t) {
      const float logit = allowed(t);
      return logit > -INFINITY ? key_of(logit, t) : 0;
    };
    n = best_in_order(m, order, d.vocab, most, key, [](int) { return false; });
  }
  Drawn* const drawn = d.drawn + blockIdx.x;
  if (threadIdx.x < SKV_MAX_LOGPROBS) {
    const int i = threadIdx.x, other = i < n ? (int)order[i] : -1;
    global(drawn->alternatives)[i] = other;
    if (other >= 0) global(drawn->alternative_logits)[i] = allowed(other);
  }
  if (threadIdx.x != 0) return;
  global(&drawn->logit)[0] = token < d.vocab ? allowed(token) : -INFINITY;
  global(&drawn->top)[0] = top;
  global(&drawn->sum)[0] = sum;
}

static __global__ void __launch_bounds__(kDrawThreads) draw_kernel(Draws d) {
  Arena arena;
  const DrawMemory m(arena, d.vocab);
  const skv_sampler s = load_sampler(d.sampler, blockIdx.x);
  const int64_t row = (int64_t)blockIdx.x * d.vocab;
  const Global<float> prob = global(d.prob) + row;
  const Global<int32_t> order = global(d.order) + row;
  const bool masked = s.mask >= 0;
  const Allowed allowed = {global(d.logits) + row, global(d.mask) + (int64_t)max(s.mask, 0) * SKV_MASK_WORDS(d.vocab),
                           masked};
  int token = s.target;
  if (token < 0) {
    Global<const float> x = allowed.logits;
    if (masked || skv::has_penalties(s) || s.bias1 > s.bias0) {
      const Global<float> adjusted = global(d.adjusted) + row;
      penalise(d, s, adjusted, order, global((int*)d.prob) + row, allowed);
      move_logits(d, s, adjusted);
      x = adjusted;
    }
    const auto read = [&](int t) { return (float)x[t]; };
    const Best best = best_of(m, d.vocab, read);
    token = best.token < d.vocab ? best.token : 0;  // nothing but NaN
    if (s.temperature > 0) {
      const double total =
          softmax_of(m, prob, d.vocab, best.logit, 1 / s.temperature, s.min_p > 0 ? s.min_p : 0.0f, read);
      const bool all = (s.top_k <= 0 || s.top_k >= d.vocab) && s.top_p >= 1;
      token = total == 0 ? 0
              : all      ? draw_from_all(m, prob, d.vocab, skv::uniform_of(s) * total)
                         : draw_from_best(m, s, x, prob, order, d.vocab, total);
    }
  }
  if (threadIdx.x == 0) global(&d.drawn[blockIdx.x].token)[0] = token;
  __syncthreads();
  if (s.logprobs >= 0) tell_logits(d, s, m, allowed, prob, order, token);
}
