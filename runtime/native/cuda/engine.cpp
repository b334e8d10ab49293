#include "engine.h"

#include <algorithm>

#include "check.h"
#include "describe.h"
#include "last_rows.h"
#include "logit_tokens.h"
#include "lost.h"
#include "shared_arrays.h"

namespace skv {
namespace {

/* What weights, and what they meet, are: f32 where it was asked for, else bf16. */
int dense_type(const skv_config& c) { return c.exact_activations ? SKV_F32 : SKV_BF16; }

/* Rows of a step that is kept as a graph: as many as it has, or some more, so that few classes serve all. */
int rows_of_class(int rows) {
  const int step = rows <= 8 ? 1 : rows <= 64 ? 8 : 32;
  return (rows + step - 1) / step * step;
}
/* Beyond, launches are nothing beside what they launch. */
constexpr int kMostGraphRows = 256;

/* Calls of Outbox::put for the engine's own arrays. */
constexpr size_t kPuts = 6;

}  // namespace

CudaEngine::CudaEngine(const skv_config& c, const Progress& progress)
    : device_(Device::open()),
      layers_(c.model.layers),
      vocab_(c.model.vocab),
      max_copies_(c.max_copies),
      shared_(*device_, shared_bytes(c)),
      buffers_(shared_arrays(c, shared_.data())),
      io_(*device_, c.model, c.max_tokens, c.host_pages ? SKV_F32 : dense_type(c)),
      model_(*device_, c, dense_type(c), io_, progress),
      host_(c.host_pages ? std::make_unique<HostAttention>(*device_, c, buffers_, io_) : nullptr),
      cache_(c.host_pages ? nullptr : std::make_unique<DeviceCache>(*device_, c, dense_type(c), buffers_, io_)),
      sampler_(*device_, c, buffers_),
      outbox_(*device_, DeviceCache::most_words(c) + DeviceSampler::most_words(c) + 4 * size_t(c.max_tokens),
              DeviceCache::most_puts(c) + DeviceSampler::kPuts + kPuts),
      graphs_(*device_),
      token_(*device_, c.max_tokens, "token"),
      position_(*device_, c.max_tokens, "position"),
      source_(*device_, c.max_tokens, "source"),
      place_(*device_, c.max_tokens, "place"),
      logits_(*device_, size_t(SKV_KEPT_LOGITS) * c.model.vocab, "logits of draws"),
      read_logits_(*device_, c.model.vocab),
      logit_place_(c.max_tokens),
      sources_(c.max_tokens),
      places_(c.max_tokens),
      last_rows_(c.max_rows) {
  if (cache_) {
    const size_t room = StepGraphs::room_in(device_->free_bytes(), layers_);
    graphs_.allow(room);
    cache_->allocate_pool(c, room);
  }
  try_out();
}

/* A token through the first kernel, so that what the device cannot run is told before there is a step. */
void CudaEngine::try_out() {
  device_->clear(token_.data(), sizeof(int32_t));
  device_->clear(position_.data(), sizeof(int32_t));
  try {
    model_.embed(token_.data(), position_.data(), 1);
    device_->wait();
  } catch (const std::exception& failure) {
    throw std::runtime_error(std::string("the device does not run this backend: ") + failure.what() +
                             "; delete the build, and it is built for " + device_->name());
  }
}

int CudaEngine::add_policy(const char* path) {
  graphs_.forget();
  return with_cache([&](auto& cache) { return cache.add_policy(path); });
}

int CudaEngine::read_lane(int seq, int layer, int head, int lane, int32_t* out) {
  return with_cache([&](auto& cache) { return cache.read_lane(seq, layer, head, lane, out); });
}

void CudaEngine::step(const skv_step_counts& counts) {
  try {
    run(counts);
  } catch (const std::exception& failure) {
    if (!device_->answers()) throw Lost(failure.what());
    throw;
  }
}

void CudaEngine::run(const skv_step_counts& counts) {
  StepLimits limits{};
  limits.vocab = vocab_;
  limits.max_copies = max_copies_;
  with_cache([&](auto& cache) {
    limits.policies = cache.policies();
    check_step(counts, buffers_, cache.shape(), limits);
  });
  logit_tokens_ = find_logit_tokens(counts, buffers_.sampler, logit_place_.data());
  cut_last_rows(buffers_.row, counts.rows, logit_place_.data(), last_rows_.data());
  if (host_)
    run_beside_attention(counts);
  else
    run_on_device(counts);
  kept_logits_ = std::min(counts.samplers, SKV_KEPT_LOGITS);
  sampler_.download(counts.samplers);
  device_->wait();
  sampler_.tell(counts.samplers);
}

void CudaEngine::run_on_device(const skv_step_counts& counts) {
  const bool decode = is_decode(counts);
  const Sizes sizes = decode ? class_of(counts) : sizes_of(counts);
  put(counts, sizes);
  cache_->copy_pages(counts.copies);
  if (decode) {
    StepGraphs::Key key = {sizes.rows};
    cache_->widen_hints(&key);
    logit_tokens_ = sizes.tokens;
    graphs_.run(key, [&] { queue(sizes); });
  } else {
    queue(sizes);
  }
  cache_->download();
}

/* While the host attends to one half's rows, the device computes the other's. */
void CudaEngine::run_beside_attention(const skv_step_counts& counts) {
  const Sizes sizes = sizes_of(counts);
  put(counts, sizes);
  model_.embed(token_.data(), position_.data(), sizes.tokens);
  alternate(
      host_->begin(counts), layers_,
      [&](const Half& half, int layer) { model_.up_to_attention(layer, half.token0, half.tokens); },
      [&](const Half& half, int layer) { host_->start(half, layer, last_rows_.data()); },
      [&](const Half& half) {
        host_->wait(half);
        model_.take_out(half.token0, half.tokens);
      });
  queue_logits(sizes);
  host_->compact();
}

/* A generated token a row, and a draw for each. */
bool CudaEngine::is_decode(const skv_step_counts& counts) const {
  return counts.rows == counts.tokens && counts.rows == counts.samplers && counts.rows == logit_tokens_ &&
         counts.rows <= kMostGraphRows && std::all_of(buffers_.row, buffers_.row + counts.rows, is_generated);
}

CudaEngine::Sizes CudaEngine::class_of(const skv_step_counts& counts) const {
  const skv_shape& shape = cache_->shape();
  const int rows = std::min({rows_of_class(counts.rows), shape.max_rows, shape.max_tokens});
  return {rows, rows, rows};
}

/* Tokens beyond the step's are token 0 at position 0, of no row. */
void CudaEngine::put(const skv_step_counts& counts, const Sizes& sizes) {
  for (int t = 0; t < counts.tokens; t++)
    if (logit_place_[t] >= 0) sources_[logit_place_[t]] = t;
  std::fill_n(places_.begin(), sizes.samplers, 0);
  for (int i = 0; i < counts.samplers; i++) places_[i] = logit_place_[buffers_.sampler[i].source];
  const std::vector<int32_t> zeros(sizes.tokens - counts.tokens, 0);
  outbox_.put(token_.data(), buffers_.token, counts.tokens);
  outbox_.put(position_.data(), buffers_.position, counts.tokens);
  outbox_.put(token_.data() + counts.tokens, zeros.data(), zeros.size());
  outbox_.put(position_.data() + counts.tokens, zeros.data(), zeros.size());
  outbox_.put(source_.data(), sources_.data(), logit_tokens_);
  outbox_.put(place_.data(), places_.data(), sizes.samplers);
  if (cache_) cache_->put(outbox_, counts, last_rows_.data(), sizes.rows);
  sampler_.put(outbox_, counts.samplers, sizes.samplers);
  outbox_.send();
}

/* What of a step depends on its class alone. */
void CudaEngine::queue(const Sizes& sizes) {
  model_.embed(token_.data(), position_.data(), sizes.tokens);
  for (int layer = 0; layer < layers_; layer++) {
    model_.up_to_attention(layer, 0, sizes.tokens);
    cache_->attend(layer);
  }
  cache_->compact();
  queue_logits(sizes);
}

/* From the last attention to draws. */
void CudaEngine::queue_logits(const Sizes& sizes) {
  if (logit_tokens_) {
    if (logit_tokens_ < sizes.tokens) model_.gather(source_.data(), logit_tokens_);
    model_.after_last_attention(logit_tokens_);
  }
  sample(sizes.samplers);
}

void CudaEngine::sample(int samplers) {
  /* from the last to the first, whose logits stay */
  for (int first, end = samplers; end > 0; end = first) {
    first = (end - 1) / SKV_KEPT_LOGITS * SKV_KEPT_LOGITS;
    const int n = end - first;
    model_.logits(place_.data() + first, n, logits_.data());
    sampler_.draw(logits_.data(), first, n);
  }
}

const float* CudaEngine::logits(int sampler) {
  if (sampler < 0 || sampler >= kept_logits_) return nullptr;
  device_->download(read_logits_.data(), logits_.data() + size_t(sampler) * vocab_, vocab_ * sizeof(float));
  device_->wait();
  return read_logits_.data();
}

std::string CudaEngine::describe() const {
  const std::string sent = ",\"graphSteps\":" + std::to_string(graphs_.launches()) +
                           ",\"sentBytes\":" + std::to_string(outbox_.sent_bytes());
  return with_cache([&](auto& cache) {
    return describe_engine(device_->name(), 1, model_.weight_bytes(), cache.pool_bytes(), cache.shape(), sent);
  });
}

}  // namespace skv
