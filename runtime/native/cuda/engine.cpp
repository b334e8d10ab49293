#include "engine.h"

#include <algorithm>

#include "check.h"
#include "describe.h"
#include "logit_tokens.h"
#include "shared_arrays.h"

namespace skv {
namespace {

/* What weights, and what they meet, are: f32 where it was asked for, else bf16. */
int dense_type(const skv_config& c) { return c.exact_activations ? SKV_F32 : SKV_BF16; }

/* A draw that is no more than the largest logit. */
bool is_plain(const skv_sampler& s) {
  return s.temperature <= 0 && s.target < 0 && s.mask < 0 && s.logprobs < 0 && s.bias1 <= s.bias0 && !has_penalties(s);
}

}  // namespace

CudaEngine::CudaEngine(const skv_config& c, const Progress& progress)
    : device_(Device::open()),
      layers_(c.model.layers),
      vocab_(c.model.vocab),
      max_copies_(c.max_copies),
      shared_(*device_, shared_bytes(c)),
      buffers_(shared_arrays(c, shared_.data())),
      io_(*device_, c.model, c.max_tokens, dense_type(c)),
      model_(*device_, c, dense_type(c), io_, progress),
      cache_(*device_, c, dense_type(c), buffers_, io_),
      token_(*device_, c.max_tokens, "token"),
      position_(*device_, c.max_tokens, "position"),
      source_(*device_, c.max_tokens, "source"),
      place_(*device_, c.max_tokens, "place"),
      drawn_(*device_, c.max_tokens, "drawn"),
      logits_(*device_, size_t(SKV_KEPT_LOGITS) * c.model.vocab, "logits of draws"),
      sources_(*device_, c.max_tokens),
      places_(*device_, c.max_tokens),
      drawns_(*device_, c.max_tokens),
      read_logits_(*device_, logits_.size()),
      logit_place_(c.max_tokens) {}

void CudaEngine::step(const skv_step_counts& counts) {
  StepLimits limits{};
  limits.vocab = vocab_;
  limits.max_copies = max_copies_;
  limits.policies = cache_.policies();
  check_step(counts, buffers_, cache_.shape(), limits);
  upload(counts);
  cache_.copy_pages(counts.copies);
  model_.embed(token_.data(), position_.data(), counts.tokens);
  for (int layer = 0; layer < layers_; layer++) {
    model_.up_to_attention(layer, counts.tokens);
    cache_.attend(layer);
  }
  if (logit_tokens_) {
    if (logit_tokens_ < counts.tokens) model_.gather(source_.data(), logit_tokens_);
    model_.after_last_attention(logit_tokens_);
  }
  cache_.compact();
  cache_.download();
  sample(counts.samplers);
  device_->wait();
  for (int i = 0; i < counts.samplers; i++)
    if (is_plain(buffers_.sampler[i])) buffers_.sampled[i].token = drawns_[i];
}

void CudaEngine::upload(const skv_step_counts& counts) {
  logit_tokens_ = find_logit_tokens(counts, buffers_.sampler, logit_place_.data());
  for (int t = 0; t < counts.tokens; t++)
    if (logit_place_[t] >= 0) sources_[logit_place_[t]] = t;
  for (int i = 0; i < counts.samplers; i++) places_[i] = logit_place_[buffers_.sampler[i].source];
  device_->upload(token_.data(), buffers_.token, counts.tokens * sizeof(int32_t));
  device_->upload(position_.data(), buffers_.position, counts.tokens * sizeof(int32_t));
  device_->upload(source_.data(), sources_.data(), logit_tokens_ * sizeof(int32_t));
  device_->upload(place_.data(), places_.data(), counts.samplers * sizeof(int32_t));
  cache_.upload(counts);
}

void CudaEngine::sample(int samplers) {
  kept_logits_ = std::min(samplers, SKV_KEPT_LOGITS);
  /* from the last to the first, whose logits stay */
  for (int first, end = samplers; end > 0; end = first) {
    first = (end - 1) / SKV_KEPT_LOGITS * SKV_KEPT_LOGITS;
    const int n = end - first;
    model_.logits(place_.data() + first, n, logits_.data());
    model_.best(logits_.data(), n, drawn_.data() + first);
    draw_here(first, n);
  }
  device_->download(drawns_.data(), drawn_.data(), samplers * sizeof(int32_t));
}

/* Draws [first, first + n) that want more than the largest logit. */
void CudaEngine::draw_here(int first, int n) {
  auto wants_more = [&](int i) { return !is_plain(buffers_.sampler[first + i]); };
  bool any = false;
  for (int i = 0; i < n; i++) {
    if (!wants_more(i)) continue;
    const size_t at = size_t(i) * vocab_;
    device_->download(&read_logits_[at], logits_.data() + at, vocab_ * sizeof(float));
    any = true;
  }
  if (!any) return;
  device_->wait();
  for (int i = 0; i < n; i++)
    if (wants_more(i))
      sampling_.draw(buffers_.sampler[first + i], buffers_, &read_logits_[size_t(i) * vocab_], vocab_,
                     &buffers_.sampled[first + i]);
}

const float* CudaEngine::logits(int sampler) {
  if (sampler < 0 || sampler >= kept_logits_) return nullptr;
  const size_t at = size_t(sampler) * vocab_;
  device_->download(&read_logits_[at], logits_.data() + at, vocab_ * sizeof(float));
  device_->wait();
  return &read_logits_[at];
}

std::string CudaEngine::describe() const {
  return describe_engine(device_->name(), 1, model_.weight_bytes(), cache_.pool_bytes(), cache_.shape());
}

}  // namespace skv
