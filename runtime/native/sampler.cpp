#include "sampler.h"

#include <algorithm>
#include <cmath>

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

/* log(sum(exp(x))) in doubles: the normaliser of log-probabilities. */
double log_sum_exp(const float* x, int n) {
  const float top = *std::max_element(x, x + n);
  double sum = 0;
  for (int i = 0; i < n; i++) sum += std::exp(double(x[i]) - top);
  return top + std::log(sum);
}

/* Higher logit first, lower token among equals. */
bool better(const std::pair<float, int>& a, const std::pair<float, int>& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

int greedy(const float* x, int n) { return int(std::max_element(x, x + n) - x); }

}  // namespace

void Sampling::draw(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab,
                    skv_sampled* out) {
  const float* x = logits;
  const bool penalties = s.repetition != 1 || s.presence != 0 || s.frequency != 0;
  if (penalties || s.bias1 > s.bias0) {
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
    x = adjusted_.data();
  }

  if (s.target >= 0)
    out->token = s.target;
  else if (s.temperature <= 0)
    out->token = greedy(x, vocab);
  else {
    const float top = x[greedy(x, vocab)];
    /* Tokens whose probability could matter: exp(-60) of the best is below any draw in doubles' reach of top_p. */
    ranked_.clear();
    const float floor = top + s.temperature * (s.min_p > 0 ? std::log(s.min_p) : -60.0f);
    for (int t = 0; t < vocab; t++)
      if (x[t] >= floor) ranked_.emplace_back(x[t], t);
    std::sort(ranked_.begin(), ranked_.end(), better);
    if (s.top_k > 0 && s.top_k < int(ranked_.size())) ranked_.resize(s.top_k);
    double total = 0;
    for (auto& r : ranked_) total += std::exp((double(r.first) - top) / s.temperature);
    if (s.top_p < 1) {
      double mass = 0, kept = 0;
      size_t n = 0;
      while (n < ranked_.size() && mass < s.top_p * total)
        mass += std::exp((double(ranked_[n++].first) - top) / s.temperature);
      ranked_.resize(std::max<size_t>(n, 1));
      for (auto& r : ranked_) kept += std::exp((double(r.first) - top) / s.temperature);
      total = kept;
    }
    double left = uniform(s) * total;
    out->token = ranked_.back().second;
    for (auto& r : ranked_) {
      left -= std::exp((double(r.first) - top) / s.temperature);
      if (left < 0) {
        out->token = r.second;
        break;
      }
    }
  }
  if (s.logprobs < 0) return;
  const double norm = log_sum_exp(logits, vocab);
  out->logprob = out->token < vocab ? float(logits[out->token] - norm) : -INFINITY;
  const int wanted = std::min(std::min(s.logprobs, SKV_MAX_LOGPROBS), vocab);
  if (wanted == 0) return;
  ranked_.clear();
  for (int t = 0; t < vocab; t++) ranked_.emplace_back(logits[t], t);
  std::partial_sort(ranked_.begin(), ranked_.begin() + wanted, ranked_.end(), better);
  for (int i = 0; i < wanted; i++) {
    out->alternative[i] = ranked_[i].second;
    out->alternative_logprob[i] = float(ranked_[i].first - norm);
  }
}

}  // namespace skv
