#include "engine.h"

#include <algorithm>
#include <stdexcept>

#include "fields.h"

namespace skv {

SharedBuffers::SharedBuffers(const skv_config& c) : memory_(bytes_of(c)) {
  uint8_t* at = memory_.data();
  each_array(c, arrays_, [&](const char*, auto*& array, size_t n) {
    array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(at);
    at += whole_lines(n * sizeof *array);
  });
}

size_t SharedBuffers::bytes_of(const skv_config& c) {
  size_t total = 0;
  skv_buffers arrays{};
  each_array(c, arrays, [&](const char*, auto* array, size_t n) { total += whole_lines(n * sizeof *array); });
  return total;
}

CpuEngine::CpuEngine(const skv_config& c, const Progress& progress)
    : layers_(c.model.layers),
      vocab_(c.model.vocab),
      max_copies_(c.max_copies),
      threads_(c.threads, std::vector<int>(c.cpu, c.cpu + (c.cpu ? c.threads : 0))),
      shared_(c),
      io_(c.model, c.max_tokens),
      cache_(c, shared_.arrays(), io_, threads_),
      model_(c.model, c.max_tokens, c.exact_activations, io_, threads_, progress),
      logit_place_(c.max_tokens),
      last_rows_(c.max_rows),
      sampling_(c.threads),
      logits_(size_t(SKV_KEPT_LOGITS) * c.model.vocab) {}

void CpuEngine::step(const skv_step_counts& counts) {
  check(counts);
  const skv_buffers& b = buffers();
  const int logit_tokens = find_logit_tokens(counts);
  cut_last_rows(counts.rows);
  cache_.copy_pages(counts.copies);
  cache_.begin(counts.rows);
  model_.embed(b.token, b.position, counts.tokens);
  for (int layer = 0; layer < layers_; layer++) {
    model_.up_to_attention(layer, counts.tokens);
    cache_.attend(layer, layer == layers_ - 1 ? last_rows_.data() : b.row);
  }
  model_.gather(logit_place_.data(), counts.tokens);
  if (logit_tokens) model_.after_last_attention(logit_tokens);
  sample(counts.samplers);
  cache_.compact();
}

/* What a step says of itself is checked here, once: neither the dense model nor policies look again. */
void CpuEngine::check(const skv_step_counts& n) const {
  auto fail = [](const std::string& what) { throw std::runtime_error("bad step: " + what); };
  const skv_shape& shape = cache_.shape();
  const skv_buffers& b = buffers();
  if (n.tokens < 1 || n.tokens > shape.max_tokens) fail(std::to_string(n.tokens) + " tokens");
  if (n.rows < 1 || n.rows > shape.max_rows) fail(std::to_string(n.rows) + " rows");
  if (n.samplers < 0 || n.samplers > shape.max_tokens) fail(std::to_string(n.samplers) + " samplers");
  if (n.copies < 0 || n.copies > max_copies_) fail(std::to_string(n.copies) + " copies");
  for (int i = 0; i < n.tokens; i++)
    if (b.token[i] < 0 || b.token[i] >= vocab_) fail("token id " + std::to_string(b.token[i]));
  for (int i = 0; i < n.samplers; i++) {
    if (b.sampler[i].source < 0 || b.sampler[i].source >= n.tokens) fail("sampler without a token");
    if (b.sampler[i].mask < -1 || b.sampler[i].mask >= shape.max_seqs) fail("sampler without its mask");
  }
  for (int r = 0; r < n.rows; r++) {
    const skv_row& row = b.row[r];
    if (row.tokens < 1 || row.token0 < 0 || row.token0 > n.tokens - row.tokens)
      fail("tokens of row " + std::to_string(r));
    cache_.check(r);
  }
}

/* Gives the tokens whose logits a sampler reads their places; returns how many. The last layer computes keys and values
 * of all tokens, and everything after them of these alone. */
int CpuEngine::find_logit_tokens(const skv_step_counts& counts) {
  std::fill_n(logit_place_.begin(), counts.tokens, -1);
  for (int i = 0; i < counts.samplers; i++) logit_place_[buffers().sampler[i].source] = 0;
  int found = 0;
  for (int t = 0; t < counts.tokens; t++)
    if (logit_place_[t] == 0) logit_place_[t] = found++;
  return found;
}

/* The rows without the first tokens that the last layer's attention is not asked for: no logits are read of them, and
 * no policy observes them. A row of one token stays, since attend is what stores it. */
void CpuEngine::cut_last_rows(int rows) {
  for (int r = 0; r < rows; r++) {
    skv_row& row = last_rows_[r];
    row = buffers().row[r];
    if (row.tokens == 1) continue;
    const int most = row.observe1 > row.observe0 ? row.observe0 - row.pos0 : row.tokens;
    int cut = 0;
    while (cut < most && logit_place_[row.token0 + cut] < 0) cut++;
    row.token0 += cut;
    row.pos0 += cut;
    row.tokens -= cut;
  }
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
  auto number = [](const char* name, size_t value) {
    return std::string(",\"") + name + "\":" + std::to_string(value);
  };
  const skv_shape& shape = cache_.shape();
  return std::string("{\"isa\":\"") + model_.isa() + "\"" + number("threads", threads_.count()) +
         number("weightBytes", model_.weight_bytes()) + number("poolBytes", cache_.pool_bytes()) +
         number("pageBytes", shape.page_bytes) + number("lanes", shape.lanes) + "}";
}

}  // namespace skv
