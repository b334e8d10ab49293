#include "engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "elementwise.h"
#include "fields.h"
#include "forward.h"
#include "layout.h"
#include "policy.h"

namespace skv {
namespace {

void run_parallel(void* self, int32_t items, int32_t near, void (*run)(void*, int32_t, int32_t), void* arg) {
  static_cast<Threads*>(self)->parallel(items, near != 0, run, arg);
}

skv_page_layout layout_of(const skv_config& c, int lanes) {
  return skv_layout_of(c.model.head_dim, skv_kv_bytes(c.kv_type), lanes);
}

int most_lanes(const skv_config& c) {
  int lanes = 1;
  for (int i = 0; i < c.policies; i++) lanes = std::max(lanes, open_policy(c.policy[i])->lanes);
  /* room for policies that are added later */
  return std::max(lanes, 4);
}

}  // namespace

Engine::Engine(const skv_config& c, skv_buffers* buffers, void (*progress)(void*, float), void* arg)
    : model_(c.model),
      inv_freq_(c.model.inv_freq, c.model.inv_freq + c.model.head_dim / 2),
      max_rows_(c.max_rows),
      max_seqs_(c.max_seqs),
      max_copies_(c.max_copies),
      pages_(c.pages),
      threads_(c.threads, std::vector<int>(c.cpu, c.cpu + (c.cpu ? c.threads : 0))),
      weights_((threads_.adopt_caller(), c.model), threads_, progress, arg),
      pool_(size_t(c.pages) * layout_of(c, most_lanes(c)).bytes),
      isa_(find_isa(nullptr)) {
  if (!isa_) throw std::runtime_error("SKV_ISA names a path that this processor or build does not have");
  if (c.kv_type != SKV_BF16 && c.kv_type != SKV_F32) throw std::runtime_error("keys and values must be bf16 or f32");
  if (model_.head_dim % 16)
    throw std::runtime_error("head size " + std::to_string(model_.head_dim) + " is not a multiple of 16");
  const int lanes = most_lanes(c), group = model_.heads / model_.kv_heads, tokens = c.max_tokens;
  shape_ = {model_.layers,
            model_.kv_heads,
            group,
            model_.head_dim,
            c.kv_type,
            layout_of(c, lanes).bytes,
            lanes,
            c.table_stride,
            tokens,
            c.table_stride * SKV_PAGE,
            c.max_rows,
            c.max_seqs,
            c.pages,
            SKV_F32,
            1.0f / std::sqrt(float(model_.head_dim)),
            inv_freq_.data(),
            model_.rope_interleaved};

  const int q = model_.heads * model_.head_dim, kv = model_.kv_heads * model_.head_dim;
  widest_ = std::max({model_.width, q, model_.ffn});
  x_.resize(size_t(tokens) * model_.width);
  normed_.resize(size_t(c.threads) * model_.width);
  q_.resize(size_t(tokens) * q);
  k_.resize(size_t(tokens) * kv);
  v_.resize(size_t(tokens) * kv);
  attended_.resize(size_t(tokens) * q);
  lse_.resize(size_t(tokens) * model_.heads);
  cos_.resize(size_t(tokens) * model_.head_dim / 2);
  sin_.resize(cos_.size());
  const int rows = std::max(c.threads * kTogether, SKV_KEPT_LOGITS);
  h_.resize(size_t(rows) * model_.width);
  gate_.resize(size_t(rows) * model_.ffn);
  up_.resize(size_t(rows) * model_.ffn);
  scale_.resize(size_t(rows) * pairs_of(widest_));
  int8_.resize(scale_.size() * kPair);
  sum_.resize(scale_.size() * 2);
  offset_.resize(scale_.size() * 2);
  last_.resize(size_t(SKV_KEPT_LOGITS) * 2 * model_.width);
  logits_.resize(size_t(SKV_KEPT_LOGITS) * model_.vocab);
  sampling_.resize(c.threads);
  drawn_.resize(tokens), last_rows_.resize(c.max_rows);

  share_buffers(c);
  *buffers = buffers_;

  exec_ = {threads_.count(), &threads_, run_parallel, nullptr, nullptr, 0};
  for (int i = 0; i < c.policies; i++) add_policy(c.policy[i]);
}

/* One block for everything TypeScript sees; each array starts on a cache line. */
void Engine::share_buffers(const skv_config& c) {
  auto lines = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  size_t total = 0;
  each_array(c, buffers_, [&](const char*, auto* array, size_t n) { total += lines(n * sizeof *array); });
  tables_ = std::make_unique<Arena>(total);
  uint8_t* at = tables_->data();
  each_array(c, buffers_, [&](const char*, auto*& array, size_t n) {
    array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(at);
    at += lines(n * sizeof *array);
  });
}

int Engine::add_policy(const char* path) {
  const skv_policy* policy = open_policy(path);
  if (strcmp(policy->target, "cpu")) throw std::runtime_error(std::string(path) + " was built for " + policy->target);
  if (policy->lanes > shape_.lanes)
    throw std::runtime_error(std::string(policy->name) + " needs " + std::to_string(policy->lanes) +
                             " lanes a page, the pool has " + std::to_string(shape_.lanes) +
                             ": name the policy at start");
  if (!(policy->kv_types & 1u << shape_.kv_type))
    throw std::runtime_error(std::string(policy->name) + " does not run this KV type");
  policies_.push_back(policy);
  size_scratch();
  return int(policies_.size()) - 1;
}

void Engine::size_scratch() {
  int64_t bytes = 64, floats = 16;
  for (const skv_policy* policy : policies_) {
    bytes = std::max(bytes, policy->scratch_bytes(&shape_));
    floats = std::max(floats, policy->step_floats(&shape_));
  }
  bytes = (bytes + 4095) / 4096 * 4096;
  if (bytes > exec_.scratch_bytes) {
    scratch_ = std::make_unique<Arena>(size_t(bytes) * threads_.count());
    exec_.scratch = scratch_->data();
    exec_.scratch_bytes = bytes;
  }
  if (!step_floats_ || size_t(floats) * 4 > step_floats_->bytes())
    step_floats_ = std::make_unique<Arena>(size_t(floats) * 4);
}

void Engine::check(const skv_step_counts& n) const {
  auto fail = [](const std::string& what) { throw std::runtime_error("bad step: " + what); };
  if (n.tokens < 1 || n.tokens > shape_.max_tokens) fail(std::to_string(n.tokens) + " tokens");
  if (n.rows < 1 || n.rows > max_rows_) fail(std::to_string(n.rows) + " rows");
  if (n.samplers < 0 || n.samplers > shape_.max_tokens) fail(std::to_string(n.samplers) + " samplers");
  if (n.copies < 0 || n.copies > max_copies_) fail(std::to_string(n.copies) + " copies");
  for (int i = 0; i < n.tokens; i++)
    if (buffers_.token[i] < 0 || buffers_.token[i] >= model_.vocab)
      fail("token id " + std::to_string(buffers_.token[i]));
  for (int i = 0; i < n.samplers; i++)
    if (buffers_.sampler[i].source < 0 || buffers_.sampler[i].source >= n.tokens) fail("sampler without a token");
  for (int r = 0; r < n.rows; r++) {
    const skv_row& row = buffers_.row[r];
    if (row.seq < 0 || row.seq >= max_seqs_) fail("sequence " + std::to_string(row.seq));
    if (row.policy < 0 || row.policy >= int(policies_.size())) fail("policy " + std::to_string(row.policy));
    if (row.tokens < 1 || row.token0 < 0 || row.token0 > n.tokens - row.tokens)
      fail("tokens of row " + std::to_string(r));
    const size_t table0 = size_t(row.seq) * shape_.layers * shape_.kv_heads;
    for (size_t h = table0; h < table0 + size_t(shape_.layers) * shape_.kv_heads; h++) {
      const int length = buffers_.length[h];
      if (length < 0 || length > shape_.max_slots - row.tokens) fail("length of row " + std::to_string(r));
      const int32_t* table = buffers_.table + h * shape_.table_stride;
      int32_t least = 1, most = 1;
      for (int p = 0; p < (length + row.tokens + SKV_PAGE - 1) / SKV_PAGE; p++)
        least = std::min(least, table[p]), most = std::max(most, table[p]);
      if (least < 1 || most >= pages_)
        fail("page " + std::to_string(least < 1 ? least : most) + " in the table of row " + std::to_string(r));
    }
  }
}

void Engine::step(const skv_step_counts& counts) {
  check(counts);
  copy_pages(counts.copies);
  step_ = {SKV_ABI_VERSION,
           sizeof(skv_step),
           &shape_,
           0,
           counts.rows,
           buffers_.row,
           {},
           pool_.data(),
           buffers_.table,
           buffers_.length,
           buffers_.budget,
           buffers_.param,
           buffers_.classes,
           q_.data(),
           k_.data(),
           v_.data(),
           attended_.data(),
           lse_.data(),
           reinterpret_cast<float*>(step_floats_->data())};
  const int drawn = find_drawn(counts);
  embed(counts.tokens);
  for (int layer = 0; layer < model_.layers; layer++) {
    dense(counts.tokens, [&](const Tokens& some) {
      if (layer > 0) finish_layer(layer - 1, some);
      start_layer(layer, some);
    });
    run_policies(counts, layer);
  }
  gather_drawn(counts.tokens);
  if (drawn)
    dense(drawn, [&](const Tokens& some) {
      finish_layer(model_.layers - 1, some);
      add_residual(some);
    });
  sample(counts.samplers);
  compact(counts);
}

/* Which tokens logits are asked of; returns how many. Of the others, the last layer computes keys and values, and
 * attention only where a policy observes it. A row is cut to its last tokens; one of a single token stays, since attend
 * is what stores it. */
int Engine::find_drawn(const skv_step_counts& counts) {
  std::fill_n(drawn_.begin(), counts.tokens, -1);
  for (int i = 0; i < counts.samplers; i++) drawn_[buffers_.sampler[i].source] = 0;
  int drawn = 0;
  for (int t = 0; t < counts.tokens; t++)
    if (drawn_[t] == 0) drawn_[t] = drawn++;
  for (int r = 0; r < counts.rows; r++) {
    skv_row& row = last_rows_[r] = buffers_.row[r];
    if (row.tokens == 1) continue;
    int first = 0;
    const int most = row.observe1 > row.observe0 ? row.observe0 - row.pos0 : row.tokens;
    while (first < most && drawn_[row.token0 + first] < 0) first++;
    row.token0 += first, row.pos0 += first, row.tokens -= first;
  }
  return drawn;
}

/* Moves what is left of these tokens to the front: the residual stream and attention's output. */
void Engine::gather_drawn(int tokens) {
  const size_t width = model_.width, q = size_t(model_.heads) * model_.head_dim;
  for (int t = 0; t < tokens; t++) {
    const int to = drawn_[t];
    if (to < 0 || to == t) continue;
    std::copy_n(&x_[t * width], width, &x_[to * width]);
    std::copy_n(&attended_[t * q], q, &attended_[to * q]);
  }
}

/* Pairs may depend on each other (a page freed by one is another's target), so every worker walks all pairs in order
 * and copies its own slice of each page. */
void Engine::copy_pages(int copies) {
  if (copies == 0) return;
  const int slices = threads_.count(), lines = shape_.page_bytes / 64;
  threads_.each(slices, [&](int32_t slice, int32_t) {
    const size_t from = size_t(lines) * slice / slices * 64, to = size_t(lines) * (slice + 1) / slices * 64;
    for (int i = 0; i < copies; i++)
      memcpy(pool_.data() + size_t(buffers_.copy[2 * i + 1]) * shape_.page_bytes + from,
             pool_.data() + size_t(buffers_.copy[2 * i]) * shape_.page_bytes + from, to - from);
  });
}

/* Embeddings, and the rotation of each token's position. */
void Engine::embed(int tokens) {
  const int half = model_.head_dim / 2;
  threads_.each(tokens,
                [&](int32_t t, int32_t) { /* not each_own: after a pause workers are still waking */
                                          unpack_row(weights_.embed, buffers_.token[t], &x_[size_t(t) * model_.width]);
                                          for (int i = 0; i < half; i++) {
                                            const double angle = double(buffers_.position[t]) * double(inv_freq_[i]);
                                            cos_[size_t(t) * half + i] = float(std::cos(angle));
                                            sin_[size_t(t) * half + i] = float(std::sin(angle));
                                          }
                });
}

void Engine::run_policies(const skv_step_counts& counts, int layer) {
  for (size_t p = 0; p < policies_.size(); p++) {
    bool used = false;
    for (int r = 0; r < counts.rows && !used; r++) used = buffers_.row[r].policy == int(p);
    if (!used) continue;
    step_.self = int32_t(p);
    int32_t code = policies_[p]->append(&step_, layer, &exec_);
    if (layer == model_.layers - 1) step_.row = last_rows_.data();
    if (!code) code = policies_[p]->attend(&step_, layer, &exec_);
    if (!code && policies_[p]->observe) code = policies_[p]->observe(&step_, layer, &exec_);
    step_.row = buffers_.row;
    if (code)
      throw std::runtime_error(std::string("policy ") + policies_[p]->name + " failed with code " +
                               std::to_string(code) + ": " + policies_[p]->error(code));
  }
}

void Engine::compact(const skv_step_counts& counts) {
  for (size_t p = 0; p < policies_.size(); p++) {
    bool used = false;
    for (int r = 0; r < counts.rows && !used; r++) used = buffers_.row[r].policy == int(p) && buffers_.row[r].compact;
    if (!used) continue;
    step_.self = int32_t(p);
    if (const int32_t code = policies_[p]->compact(&step_, &exec_))
      throw std::runtime_error(std::string("policy ") + policies_[p]->name + " failed to compact with code " +
                               std::to_string(code) + ": " + policies_[p]->error(code));
  }
}

void Engine::sample(int samplers) {
  float* hidden = last_.data();
  kept_logits_ = samplers <= SKV_KEPT_LOGITS ? samplers : 0;
  for (int first = 0; first < samplers; first += SKV_KEPT_LOGITS) {
    const int n = std::min(SKV_KEPT_LOGITS, samplers - first);
    for (int i = 0; i < n; i++)
      memcpy(hidden + size_t(i) * model_.width, &x_[size_t(drawn_[buffers_.sampler[first + i].source]) * model_.width],
             model_.width * 4);
    float* normed = hidden + size_t(SKV_KEPT_LOGITS) * model_.width;
    for (int i = 0; i < n; i++)
      rms_norm(hidden + size_t(i) * model_.width, weights_.output_norm, model_.norm_eps, model_.width,
               normed + size_t(i) * model_.width);
    const Tokens drawn = {0, n};
    const Activations a = part(drawn, normed, model_.width);
    for (int i = 0; i < n; i++) quantise(a, i, normed + size_t(i) * model_.width);
    project(drawn, a, {{&weights_.output, logits_.data(), model_.vocab}});
    threads_.each(n, [&](int32_t i, int32_t worker) {
      sampling_[worker].draw(buffers_.sampler[first + i], buffers_, &logits_[size_t(i) * model_.vocab], model_.vocab,
                             &buffers_.sampled[first + i]);
    });
  }
}

int Engine::read_lane(int seq, int layer, int head, int lane, int32_t* out) const {
  if (seq < 0 || seq >= max_seqs_ || layer < 0 || layer >= shape_.layers || head < 0 || head >= shape_.kv_heads ||
      lane < 0 || lane >= shape_.lanes)
    return -1;
  const size_t index = (size_t(seq) * shape_.layers + layer) * shape_.kv_heads + head;
  const int length = buffers_.length[index];
  const size_t offset = skv_layout_of(shape_.head_dim, skv_kv_bytes(shape_.kv_type), shape_.lanes).lanes +
                        size_t(lane) * SKV_PAGE * sizeof(int32_t);
  for (int s = 0; s < length; s++) {
    const int page = buffers_.table[index * shape_.table_stride + s / SKV_PAGE];
    memcpy(out + s, pool_.data() + size_t(page) * shape_.page_bytes + offset + (s % SKV_PAGE) * 4, 4);
  }
  return length;
}

std::string Engine::describe() const {
  return std::string("{\"isa\":\"") + isa_->name + "\",\"threads\":" + std::to_string(threads_.count()) +
         ",\"weightBytes\":" + std::to_string(weights_.bytes()) + ",\"poolBytes\":" + std::to_string(pool_.bytes()) +
         ",\"pageBytes\":" + std::to_string(shape_.page_bytes) + ",\"lanes\":" + std::to_string(shape_.lanes) + "}";
}

}  // namespace skv
