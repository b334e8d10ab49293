#include "kv_cache.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "layout.h"
#include "policy.h"

namespace skv {
namespace {

/* Lanes a page has room for at least, for policies that are added later. */
constexpr int kMinLanes = 4;

int lanes_of(const skv_config& c) {
  int lanes = kMinLanes;
  for (int i = 0; i < c.policies; i++) lanes = std::max(lanes, open_policy(c.policy[i])->lanes);
  return lanes;
}

/* What kernels need to know of each layer. A table of zeros rotates nothing. */
std::vector<skv_layer_shape> layers_of(const skv_model& m, const float* inv_freq) {
  const int half = m.head_dim / 2;
  std::vector<skv_layer_shape> layers(m.layers);
  for (int l = 0; l < m.layers; l++) {
    const float* table = inv_freq + size_t(m.layer[l].rope) * half;
    layers[l].window = m.layer[l].window;
    layers[l].inv_freq = std::any_of(table, table + half, [](float f) { return f != 0; }) ? table : nullptr;
  }
  return layers;
}

skv_shape shape_of(const skv_config& c, const std::vector<skv_layer_shape>& layers) {
  const skv_model& m = c.model;
  skv_shape shape{};
  shape.layers = m.layers;
  shape.kv_heads = m.kv_heads;
  shape.group = m.heads / m.kv_heads;
  shape.head_dim = m.head_dim;
  shape.kv_type = c.kv_type;
  shape.lanes = lanes_of(c);
  shape.page_bytes = skv_layout_of(m.head_dim, skv_kv_bytes(c.kv_type), shape.lanes).bytes;
  shape.table_stride = c.table_stride;
  shape.max_tokens = c.max_tokens;
  shape.max_slots = c.table_stride * SKV_PAGE;
  shape.max_rows = c.max_rows;
  shape.max_seqs = c.max_seqs;
  shape.pages = c.pages;
  shape.io_type = SKV_F32;
  shape.scale = m.attention_scale;
  shape.soft_cap = m.attention_cap;
  shape.rope_interleaved = m.rope_interleaved;
  shape.layer = layers.data();
  return shape;
}

/* Slots of a window layer before the token at position `pos`: whole pages that it does not see are gone. */
int window_slots(int window, int pos) {
  const int first = std::max(0, pos + 1 - window);
  return pos - first / SKV_PAGE * SKV_PAGE;
}

void run_parallel(void* self, int32_t items, int32_t near, void (*run)(void*, int32_t, int32_t), void* arg) {
  static_cast<Threads*>(self)->parallel(items, near != 0, run, arg);
}

}  // namespace

KvCache::KvCache(const skv_config& c, const skv_buffers& buffers, AttentionIo& io, Threads& threads)
    : inv_freq_(c.model.inv_freq, c.model.inv_freq + size_t(c.model.ropes) * (c.model.head_dim / 2)),
      layers_(layers_of(c.model, inv_freq_.data())),
      shape_(shape_of(c, layers_)),
      buffers_(buffers),
      io_(io),
      threads_(threads),
      pool_(size_t(shape_.pages) * shape_.page_bytes) {
  exec_.workers = threads.count();
  exec_.self = &threads;
  exec_.parallel = run_parallel;
  for (int i = 0; i < c.policies; i++) add_policy(c.policy[i]);
}

int KvCache::add_policy(const char* path) {
  const skv_policy* policy = open_policy(path);
  if (policy->lanes > shape_.lanes)
    throw std::runtime_error(std::string(policy->name) + " needs " + std::to_string(policy->lanes) +
                             " lanes a page, the pool has " + std::to_string(shape_.lanes) +
                             ": name the policy at start");
  if (const int32_t code = policy->accepts(&shape_))
    throw std::runtime_error(std::string(policy->name) + ": " + policy->error(code));
  policies_.push_back(policy);
  size_scratch();
  return int(policies_.size()) - 1;
}

void KvCache::size_scratch() {
  int64_t bytes = 64, floats = 16;
  for (const skv_policy* policy : policies_) {
    bytes = std::max(bytes, policy->scratch_bytes(&shape_));
    floats = std::max(floats, policy->step_floats(&shape_));
  }
  bytes = (bytes + 4095) / 4096 * 4096; /* no two workers on one page of the system */
  if (bytes > exec_.scratch_bytes) {
    scratch_.resize(size_t(bytes) * threads_.count());
    exec_.scratch = scratch_.data();
    exec_.scratch_bytes = bytes;
  }
  if (size_t(floats) > step_floats_.size()) step_floats_.resize(size_t(floats));
}

void KvCache::check(int r) const {
  const skv_row& row = buffers_.row[r];
  auto fail = [](const std::string& what) { throw std::runtime_error("bad step: " + what); };
  if (row.seq < 0 || row.seq >= shape_.max_seqs) fail("sequence " + std::to_string(row.seq));
  if (row.policy < 0 || row.policy >= int(policies_.size())) fail("policy " + std::to_string(row.policy));
  const size_t heads = size_t(shape_.layers) * shape_.kv_heads, head0 = row.seq * heads;
  for (size_t head = head0; head < head0 + heads; head++) {
    const int length = buffers_.length[head];
    if (length < 0 || length > shape_.max_slots - row.tokens) fail("length of row " + std::to_string(r));
    const int window = layers_[(head - head0) / shape_.kv_heads].window;
    if (window && length != window_slots(window, row.pos0)) fail("window of row " + std::to_string(r));
    const int32_t* table = buffers_.table + head * shape_.table_stride;
    const int pages = (length + row.tokens + SKV_PAGE - 1) / SKV_PAGE;
    for (int p = 0; p < pages; p++)
      if (table[p] < 1 || table[p] >= shape_.pages)
        fail("page " + std::to_string(table[p]) + " in the table of row " + std::to_string(r));
  }
}

/* Pairs may depend on each other (a page freed by one is another's target), so every worker walks all pairs in order
 * and copies its own cache lines of each page. */
void KvCache::copy_pages(int copies) {
  if (copies == 0) return;
  const int slices = threads_.count();
  const size_t bytes = shape_.page_bytes, lines = bytes / kLine;
  threads_.each(slices, [&](int32_t slice, int32_t) {
    const size_t begin = lines * slice / slices * kLine, end = lines * (slice + 1) / slices * kLine;
    for (int i = 0; i < copies; i++) {
      const size_t from = buffers_.copy[2 * i], to = buffers_.copy[2 * i + 1];
      memcpy(pool_.data() + to * bytes + begin, pool_.data() + from * bytes + begin, end - begin);
    }
  });
}

void KvCache::begin(int rows) {
  step_ = {};
  step_.abi_version = SKV_ABI_VERSION;
  step_.size = sizeof step_;
  step_.shape = &shape_;
  step_.rows = rows;
  step_.row = buffers_.row;
  step_.pool = pool_.data();
  step_.tables = buffers_.table;
  step_.lengths = buffers_.length;
  step_.budgets = buffers_.budget;
  step_.params = buffers_.param;
  step_.classes = buffers_.classes;
  step_.q = io_.q.data();
  step_.k = io_.k.data();
  step_.v = io_.v.data();
  step_.out = io_.out.data();
  step_.lse = io_.lse.data();
  step_.logits = step_floats_.data();
}

/* fn(policy) for the policies of rows of which uses(row) is true; fn returns a code of abi.h. */
template <class Uses, class Fn>
void KvCache::for_policies(Uses&& uses, const char* failed, Fn&& fn) {
  for (size_t p = 0; p < policies_.size(); p++) {
    const skv_row* end = buffers_.row + step_.rows;
    if (std::none_of(static_cast<const skv_row*>(buffers_.row), end,
                     [&](const skv_row& row) { return row.policy == int(p) && uses(row); }))
      continue;
    step_.self = int32_t(p);
    const skv_policy& policy = *policies_[p];
    if (const int32_t code = fn(policy))
      throw std::runtime_error(std::string("policy ") + policy.name + " " + failed + " with code " +
                               std::to_string(code) + ": " + policy.error(code));
  }
}

void KvCache::attend(int layer, const skv_row* attended) {
  for_policies([](const skv_row&) { return true; }, "failed",
               [&](const skv_policy& policy) {
                 step_.row = buffers_.row;
                 if (const int32_t code = policy.append(&step_, layer, &exec_)) return code;
                 step_.row = attended;
                 if (const int32_t code = policy.attend(&step_, layer, &exec_)) return code;
                 return policy.observe ? policy.observe(&step_, layer, &exec_) : 0;
               });
}

void KvCache::compact() {
  step_.row = buffers_.row;
  for_policies([](const skv_row& row) { return row.compact != 0; }, "failed to compact",
               [&](const skv_policy& policy) { return policy.compact(&step_, &exec_); });
}

int KvCache::read_lane(int seq, int layer, int head, int lane, int32_t* out) const {
  if (seq < 0 || seq >= shape_.max_seqs || layer < 0 || layer >= shape_.layers || head < 0 || head >= shape_.kv_heads ||
      lane < 0 || lane >= shape_.lanes)
    return -1;
  const size_t index = (size_t(seq) * shape_.layers + layer) * shape_.kv_heads + head;
  const int length = buffers_.length[index];
  const skv_page_layout layout = skv_layout_of(shape_.head_dim, skv_kv_bytes(shape_.kv_type), shape_.lanes);
  for (int s = 0; s < length; s++) {
    const int page = buffers_.table[index * shape_.table_stride + s / SKV_PAGE];
    const uint8_t* lanes = pool_.data() + size_t(page) * layout.bytes + layout.lanes; /* [lane][slot] */
    memcpy(out + s, lanes + (lane * SKV_PAGE + s % SKV_PAGE) * sizeof(int32_t), sizeof(int32_t));
  }
  return length;
}

}  // namespace skv
