#include "device_sampler.h"

#include <algorithm>
#include <cmath>

#include "draw_kernel.cuh"
#include "launched.cuh"

namespace skv {
namespace {

size_t history_words(const skv_config& c) { return size_t(c.max_seqs) * c.table_stride * SKV_PAGE; }
size_t biases(const skv_config& c) { return size_t(c.max_seqs) * SKV_MAX_BIASES; }
size_t mask_words(const skv_config& c) { return size_t(c.max_seqs) * SKV_MASK_WORDS(c.model.vocab); }
size_t rows_of_vocab(const skv_config& c) { return size_t(SKV_KEPT_LOGITS) * c.model.vocab; }

}  // namespace

DeviceSampler::DeviceSampler(Device& device, const skv_config& c, const skv_buffers& buffers)
    : buffers_(buffers),
      device_(device),
      vocab_(c.model.vocab),
      sampler_(device, c.max_tokens, "samplers"),
      history_(device, history_words(c), "history"),
      mask_(device, mask_words(c), "masks"),
      bias_token_(device, biases(c), "tokens of biases"),
      bias_value_(device, biases(c), "biases"),
      adjusted_(device, rows_of_vocab(c), "adjusted logits"),
      prob_(device, rows_of_vocab(c), "probabilities"),
      order_(device, rows_of_vocab(c), "best tokens"),
      drawn_(device, c.max_tokens, "drawn"),
      drawns_(device, c.max_tokens) {}

size_t DeviceSampler::most_words(const skv_config& c) {
  return size_t(c.max_tokens) * sizeof(skv_sampler) / 4 + history_words(c) + 2 * biases(c) + mask_words(c);
}

void DeviceSampler::put(Outbox& outbox, int samplers, int all) {
  int history = 0, biases = 0, masks = 0;
  for (int i = 0; i < samplers; i++) {
    const skv_sampler& s = buffers_.sampler[i];
    if (s.history1 > s.history0) history = std::max(history, s.history1);
    if (s.bias1 > s.bias0) biases = std::max(biases, s.bias1);
    masks = std::max(masks, s.mask + 1);
  }
  skv_sampler nobody{}; /* target 0: nothing is drawn */
  nobody.mask = nobody.logprobs = -1;
  const std::vector<skv_sampler> more(all - samplers, nobody);
  outbox.put(sampler_.data(), buffers_.sampler, samplers);
  outbox.put(sampler_.data() + samplers, more.data(), more.size());
  outbox.put(history_.data(), buffers_.history, history);
  outbox.put(bias_token_.data(), buffers_.bias_token, biases);
  outbox.put(bias_value_.data(), buffers_.bias_value, biases);
  outbox.put(mask_.data(), buffers_.mask, size_t(masks) * SKV_MASK_WORDS(vocab_));
}

void DeviceSampler::draw(const float* logits, int first, int n) {
  Draws draws{};
  draws.sampler = sampler_.data() + first;
  draws.logits = logits;
  draws.history = history_.data();
  draws.bias_token = bias_token_.data();
  draws.bias_value = bias_value_.data();
  draws.mask = mask_.data();
  draws.adjusted = adjusted_.data();
  draws.prob = prob_.data();
  draws.order = order_.data();
  draws.drawn = drawn_.data() + first;
  draws.vocab = vocab_;
  launched(SKV_LAUNCH(draw_kernel, dim3(n), kDrawThreads, draw_shared(vocab_), device_.stream(), draws));
}

void DeviceSampler::download(int samplers) {
  device_.download(drawns_.data(), drawn_.data(), samplers * sizeof(Drawn));
}

void DeviceSampler::tell(int samplers) const {
  for (int i = 0; i < samplers; i++) {
    const Drawn& drawn = drawns_[i];
    const skv_sampler& s = buffers_.sampler[i];
    skv_sampled& out = buffers_.sampled[i];
    out.token = drawn.token;
    if (s.logprobs < 0) continue;
    const double norm = double(drawn.top) + std::log(drawn.sum);
    out.logprob = float(double(drawn.logit) - norm);
    const int wanted = std::min(std::min(s.logprobs, SKV_MAX_LOGPROBS), vocab_);
    for (int a = 0; a < wanted; a++) {
      out.alternatives[a] = drawn.alternatives[a];
      out.alternative_logprobs[a] =
          drawn.alternatives[a] < 0 ? -INFINITY : float(double(drawn.alternative_logits[a]) - norm);
    }
  }
}

}  // namespace skv
