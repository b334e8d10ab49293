#include "engine.h"

#include <algorithm>
#include <stdexcept>

#include "check.h"
#include "describe.h"
#include "last_rows.h"
#include "logit_tokens.h"
#include "shared_arrays.h"

namespace skv {

CpuEngine::CpuEngine(const skv_config& c, const Progress& progress)
    : layers_(c.model.layers),
      vocab_(c.model.vocab),
      max_copies_(c.max_copies),
      threads_(c.threads, std::vector<int>(c.cpu, c.cpu + (c.cpu ? c.threads : 0))),
      shared_(shared_bytes(c)),
      buffers_(shared_arrays(c, shared_.data())),
      handed_(AttentionIo::floats(c.model, c.max_tokens)),
      io_(c.model, c.max_tokens, handed_.data()),
      attention_(c, buffers_, io_, c.host_pages ? nullptr : &threads_),
      model_(c.model, c.max_tokens, c.exact_activations, io_, threads_, progress),
      logit_place_(c.max_tokens),
      last_rows_(c.max_rows),
      sampling_(c.threads),
      logits_(size_t(SKV_KEPT_LOGITS) * c.model.vocab) {}

void CpuEngine::step(const skv_step_counts& counts) {
  const skv_buffers& b = buffers();
  StepLimits limits{};
  limits.vocab = vocab_;
  limits.max_copies = max_copies_;
  limits.policies = attention_.cache().policies();
  check_step(counts, b, attention_.cache().shape(), limits);
  const int logit_tokens = find_logit_tokens(counts, b.sampler, logit_place_.data());
  cut_last_rows(b.row, counts.rows, logit_place_.data(), last_rows_.data());
  const Halves halves = attention_.begin(counts);
  model_.embed(b.row, counts.rows, b.token, b.position, counts.tokens);
  alternate(
      halves, layers_, [&](const Half& half, int layer) { model_.up_to_attention(layer, half.token0, half.tokens); },
      [&](const Half& half, int layer) { attention_.start(half, layer, last_rows_.data()); },
      [&](const Half& half) { attention_.wait(half); });
  model_.gather(logit_place_.data(), counts.tokens);
  if (logit_tokens) model_.after_last_attention(logit_tokens);
  sample(counts.samplers);
  attention_.compact();
}

void CpuEngine::sample(int samplers) {
  const skv_buffers& b = buffers();
  kept_logits_ = std::min(samplers, SKV_KEPT_LOGITS);
  /* from the last to the first, whose logits stay */
  for (int first, end = samplers; end > 0; end = first) {
    first = (end - 1) / SKV_KEPT_LOGITS * SKV_KEPT_LOGITS;
    const int n = end - first;
    int32_t place[SKV_KEPT_LOGITS];
    for (int i = 0; i < n; i++) place[i] = logit_place_[b.sampler[first + i].source];
    model_.logits(place, n, logits_.data());
    threads_.each(n, [&](int32_t i, int32_t worker) {
      sampling_[worker].draw(b.sampler[first + i], b, &logits_[size_t(i) * vocab_], vocab_, &b.sampled[first + i]);
    });
  }
}

const float* CpuEngine::logits(int sampler) const {
  return sampler >= 0 && sampler < kept_logits_ ? &logits_[size_t(sampler) * vocab_] : nullptr;
}

std::string CpuEngine::describe() const {
  const std::string apart = std::string(",\"promptsApart\":") + (model_.prompts_apart() ? "true" : "false");
  return describe_engine(model_.isa(), threads_.count(), model_.weight_bytes(), attention_.cache().pool_bytes(),
                         attention_.cache().shape(), apart);
}

}  // namespace skv
