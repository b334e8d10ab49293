#include "sampler.h"

#include <algorithm>
#include <cmath>

#include "elementwise.h"

namespace skv {
namespace {

/* Uniform in [0, 1) from (seed, position): splitmix64 of both. */
double uniform(const skv_sampler& s) {
  uint64_t z =
      (uint64_t(uint32_t(s.seed_hi)) << 32 | uint32_t(s.seed_lo)) + 0x9e3779b97f4a7c15ull * (uint64_t(s.position) + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Higher logit first, lower token among equals. */
bool better(const std::pair<float, int>& a, const std::pair<float, int>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

}  // namespace

/* Logits after penalties and bias: x itself when there are none. */
const float* Sampling::adjust(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab) {
  const bool penalties = s.repetition != 1 || s.presence != 0 || s.frequency != 0;
  if (!penalties && s.bias1 <= s.bias0) return logits;
  adjusted_.assign(logits, logits + vocab);
  if (penalties) {
    counts_.assign(vocab, 0);
    for (int i = s.history0; i < s.history1; i++) {
      const int token = buffers.history[i];
      if (token < 0 || token >= vocab) continue;
      float& l = adjusted_[token];
      if (s.repetition != 1 && counts_[token] == 0) l = l > 0 ? l / s.repetition : l * s.repetition;
      counts_[token] |= 1 << 30; /* seen at all */
      if (i >= s.generated0) counts_[token]++;
    }
    for (int t = 0; t < vocab; t++)
      if (const int count = counts_[t] & ((1 << 30) - 1)) adjusted_[t] -= s.presence + s.frequency * float(count);
  }
  for (int i = s.bias0; i < s.bias1; i++)
    if (buffers.bias_token[i] >= 0 && buffers.bias_token[i] < vocab)
      adjusted_[buffers.bias_token[i]] += buffers.bias_value[i];
  return adjusted_.data();
}

/* The best `count` tokens among those whose weight is at least `least`, best first. */
void Sampling::rank(const float* x, int vocab, int count, float least) {
  ranked_.clear();
  for (int t = 0; t < vocab; t++) {
    if (weights_[t] < least) continue;
    const std::pair<float, int> candidate(x[t], t);
    if (int(ranked_.size()) == count) {
      if (!better(candidate, ranked_.front())) continue;
      std::pop_heap(ranked_.begin(), ranked_.end(), better); /* the worst is in front */
      ranked_.back() = candidate;
    } else {
      ranked_.push_back(candidate);
    }
    std::push_heap(ranked_.begin(), ranked_.end(), better);
  }
  std::sort_heap(ranked_.begin(), ranked_.end(), better);
}

/* A token at random. Weights are probabilities relative to the best token's, which is 1. */
int Sampling::pick(const skv_sampler& s, const float* x, int vocab) {
  const float top = largest(x, vocab), least = s.min_p > 0 ? s.min_p : 0;
  double total = weigh(x, top, 1 / s.temperature, vocab, weights_.data());
  if (least > 0) {
    total = 0;
    for (int t = 0; t < vocab; t++) total += weights_[t] < least ? 0 : weights_[t];
  }
  if ((s.top_k <= 0 || s.top_k >= vocab) && s.top_p >= 1) { /* nothing to rank: in token order */
    double left = uniform(s) * total;
    int last = 0;
    for (int t = 0; t < vocab; t++) {
      if (weights_[t] < least || weights_[t] == 0) continue;
      last = t;
      if ((left -= weights_[t]) < 0) break;
    }
    return last;
  }
  auto mass = [&] {
    double sum = 0;
    for (auto& r : ranked_) sum += weights_[r.second];
    return sum;
  };
  if (s.top_k > 0 && s.top_k < vocab) {
    rank(x, vocab, s.top_k, least);
    total = mass();
  } else { /* rank no more of them than top_p needs */
    for (float cut = 1e-2f;; cut *= 1e-3f) {
      rank(x, vocab, vocab, std::max(cut, least));
      if (cut <= least || cut < 1e-30f || mass() >= s.top_p * total) break;
    }
  }
  if (s.top_p < 1) {
    double kept = 0;
    size_t n = 0;
    while (n < ranked_.size() && kept < s.top_p * total) kept += weights_[ranked_[n++].second];
    ranked_.resize(std::max<size_t>(n, 1));
    total = mass();
  }
  double left = uniform(s) * total;
  for (auto& r : ranked_)
    if ((left -= weights_[r.second]) < 0) return r.second;
  return ranked_.back().second;
}

void Sampling::draw(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab,
                    skv_sampled* out) {
  weights_.resize(vocab);
  if (s.target >= 0) {
    out->token = s.target;
  } else {
    const float* x = adjust(s, buffers, logits, vocab);
    out->token = s.temperature > 0 ? pick(s, x, vocab) : int(std::find(x, x + vocab, largest(x, vocab)) - x);
    if (out->token == vocab) out->token = 0; /* nothing but NaN */
  }
  if (s.logprobs < 0) return;
  const float top = largest(logits, vocab);
  const double norm = top + std::log(weigh(logits, top, 1, vocab, weights_.data()));
  out->logprob = out->token < vocab ? float(logits[out->token] - norm) : -INFINITY;
  const int wanted = std::min(std::min(s.logprobs, SKV_MAX_LOGPROBS), vocab);
  if (wanted == 0) return;
  rank(logits, vocab, wanted, 0);
  for (int i = 0; i < wanted; i++) {
    out->alternatives[i] = ranked_[i].second;
    out->alternative_logprobs[i] = float(ranked_[i].first - norm);
  }
}

}  // namespace skv
