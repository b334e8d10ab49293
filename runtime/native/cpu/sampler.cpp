#include "sampler.h"

#include <algorithm>
#include <cmath>

#define SKV_INLINE static inline
#include "draw_numbers.h"
#include "elementwise.h"

namespace skv {
/* Higher logit first, lower token among equals. */
bool Sampling::better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

void Sampling::apply_penalties(const skv_sampler& s, const skv_buffers& buffers, int vocab) {
  constexpr int kSeen = 1 << 30; /* beside a token's count: it occurs at all */
  counts_.assign(vocab, 0);
  for (int i = s.history0; i < s.history1; i++) {
    const int token = buffers.history[i];
    if (token < 0 || token >= vocab) continue;
    float& l = adjusted_[token];
    if (s.repetition != 1 && counts_[token] == 0) l = l > 0 ? l / s.repetition : l * s.repetition;
    counts_[token] |= kSeen;
    if (i >= s.generated0) counts_[token]++;
  }
  for (int t = 0; t < vocab; t++)
    if (const int count = counts_[t] & (kSeen - 1)) adjusted_[t] -= s.presence + s.frequency * float(count);
}

/* Logits of what may be drawn, -inf elsewhere: `logits` itself when that is every token. */
const float* Sampling::allow(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab) {
  if (s.mask < 0) return logits;
  const int words = SKV_MASK_WORDS(vocab);
  const int32_t* mask = buffers.mask + size_t(s.mask) * words;
  allowed_.assign(vocab, -INFINITY);
  for (int word = 0; word < words; word++)
    for (uint32_t bits = uint32_t(mask[word]); bits; bits &= bits - 1) {
      const int token = word * 32 + __builtin_ctz(bits);
      if (token < vocab) allowed_[token] = logits[token];
    }
  return allowed_.data();
}

/* Logits after penalties and bias: `logits` itself when there are none. */
const float* Sampling::adjust(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab) {
  const bool penalties = has_penalties(s);
  if (!penalties && s.bias1 <= s.bias0) return logits;
  adjusted_.assign(logits, logits + vocab);
  if (penalties) apply_penalties(s, buffers, vocab);
  for (int i = s.bias0; i < s.bias1; i++)
    if (buffers.bias_token[i] >= 0 && buffers.bias_token[i] < vocab)
      adjusted_[buffers.bias_token[i]] += buffers.bias_value[i];
  return adjusted_.data();
}

/* Probabilities relative to the largest logit's into prob_, 0 for those below `least`; returns their sum. */
double Sampling::softmax(const float* x, int vocab, float scale, float least) {
  prob_.resize(vocab);
  pieces_.clear();
  const float top = max_of(x, vocab);
  double total = 0;
  for (int from = 0; from < vocab; from += kSumPiece) {
    const int n = std::min(kSumPiece, vocab - from);
    pieces_.push_back(softmax_piece(x + from, top, scale, least, n, &prob_[from]));
    total += pieces_.back();
  }
  return total;
}

/* The best `count` tokens among those that `may` be. */
template <class May>
void Sampling::find_best(const float* x, int vocab, int count, May may) {
  best_.clear();
  for (int t = 0; t < vocab; t++) {
    if (!may(t)) continue;
    const Candidate candidate = {x[t], t};
    if (int(best_.size()) == count) {
      if (!better(candidate, best_.front())) continue;
      std::pop_heap(best_.begin(), best_.end(), better); /* the worst is in front */
      best_.back() = candidate;
    } else {
      best_.push_back(candidate);
    }
    std::push_heap(best_.begin(), best_.end(), better);
  }
  std::sort_heap(best_.begin(), best_.end(), better);
}

/* The best tokens that together have at least `mass`, and some more: those near the largest logit, ever less near. */
void Sampling::find_nucleus(const float* x, int vocab, float temperature, double mass) {
  const float top = max_of(x, vocab);
  for (float below = 5;; below += 7) {
    const bool last = below > 87; /* what is below has no probability */
    find_best(x, vocab, vocab, [&](int t) { return prob_[t] > 0 && (last || x[t] >= top - below * temperature); });
    if (last || mass_of_best() >= mass) return;
  }
}

double Sampling::mass_of_best() const {
  double sum = 0;
  for (const Candidate& each : best_) sum += prob_[each.token];
  return sum;
}

int Sampling::draw_random(const skv_sampler& s, const float* x, int vocab) {
  double total = softmax(x, vocab, 1 / s.temperature, s.min_p > 0 ? s.min_p : 0);
  if (total == 0) return 0; /* nothing may be drawn */
  const bool top_k = s.top_k > 0 && s.top_k < vocab;
  if (!top_k && s.top_p >= 1) return draw_from_all(uniform_of(s) * total, vocab);
  if (top_k) {
    find_best(x, vocab, s.top_k, [&](int t) { return prob_[t] > 0; });
    total = mass_of_best();
  } else {
    find_nucleus(x, vocab, s.temperature, s.top_p * total);
  }
  if (s.top_p < 1) {
    double mass = 0;
    size_t n = 0;
    while (n < best_.size() && mass < s.top_p * total) mass += prob_[best_[n++].token];
    best_.resize(std::max<size_t>(n, 1));
    total = mass_of_best();
  }
  return draw_from_best(uniform_of(s) * total);
}

/* The token at which the sum of probabilities, in token order, passes `at`: piece by piece, then within one. */
int Sampling::draw_from_all(double at, int vocab) const {
  size_t piece = 0, last_piece = 0;
  for (; piece < pieces_.size() && at >= pieces_[piece]; at -= pieces_[piece++])
    if (pieces_[piece] > 0) last_piece = piece;
  if (piece == pieces_.size()) { /* by rounding */
    piece = last_piece;
    at = INFINITY;
  }
  const int first = int(piece) * kSumPiece;
  int last = first;
  for (int t = first; t < std::min(vocab, first + kSumPiece); t++) {
    if (prob_[t] == 0) continue;
    last = t;
    at -= prob_[t];
    if (at < 0) break;
  }
  return last;
}

/* The same over the best tokens, best first. */
int Sampling::draw_from_best(double at) const {
  int last = best_.front().token;
  for (const Candidate& each : best_) {
    last = each.token;
    at -= prob_[each.token];
    if (at < 0) break;
  }
  return last;
}

void Sampling::draw(const skv_sampler& s, const skv_buffers& buffers, const float* raw, int vocab, skv_sampled* out) {
  const float* logits = allow(s, buffers, raw, vocab);
  if (s.target >= 0) {
    out->token = s.target;
  } else {
    const float* x = adjust(s, buffers, logits, vocab);
    out->token = s.temperature > 0 ? draw_random(s, x, vocab) : int(std::find(x, x + vocab, max_of(x, vocab)) - x);
    if (out->token == vocab) out->token = 0; /* nothing but NaN */
  }
  if (s.logprobs < 0) return;
  const double norm = max_of(logits, vocab) + std::log(softmax(logits, vocab, 1, 0));
  out->logprob = out->token < vocab ? float(logits[out->token] - norm) : -INFINITY;
  const int wanted = std::min(std::min(s.logprobs, SKV_MAX_LOGPROBS), vocab);
  if (wanted == 0) return;
  find_best(logits, vocab, wanted, [&](int t) { return logits[t] > -INFINITY; });
  for (int i = 0; i < wanted; i++) {
    const bool found = i < int(best_.size());
    out->alternatives[i] = found ? best_[i].token : -1;
    out->alternative_logprobs[i] = found ? float(best_[i].logit - norm) : -INFINITY;
  }
}

}  // namespace skv
