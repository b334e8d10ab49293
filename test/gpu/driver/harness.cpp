#include "harness.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <numeric>

const skv_policy* open_policy(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw std::runtime_error(std::string("cannot open a policy: ") + dlerror());
  auto entry = (skv_policy_entry_fn)dlsym(handle, SKV_POLICY_ENTRY);
  const skv_policy* policy = entry ? entry() : nullptr;
  if (!policy) throw std::runtime_error(path + " is not a policy library");
  if (policy->abi_version != SKV_ABI_VERSION || policy->size != sizeof(skv_policy))
    throw std::runtime_error(path + " was built for another version of abi.h");
  if (std::string(policy->target) != "cuda") throw std::runtime_error(path + " was built for " + policy->target);
  return policy;
}

Slots::Slots(const std::vector<std::vector<int32_t>>& lanes, const std::vector<float>& keys,
             const std::vector<float>& values, int dim)
    : lanes(lanes.size()) {
  std::vector<int> order(lanes[0].size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return lanes[0][a] < lanes[0][b]; });
  for (int slot : order) {
    const auto from = (size_t)slot * dim, to = from + dim;
    for (size_t l = 0; l < lanes.size(); l++) this->lanes[l].push_back(lanes[l][slot]);
    this->keys.insert(this->keys.end(), keys.begin() + from, keys.begin() + to);
    this->values.insert(this->values.end(), values.begin() + from, values.begin() + to);
  }
}

int64_t Harness::pool_bytes(const skv_policy* policy, const skv_shape& shape) {
  const skv_shape s = complete(policy, shape);
  return (int64_t)s.pages * s.page_bytes;
}

Harness::Harness(const skv_policy* policy, skv_shape shape, const std::vector<float>& inv_freq)
    : policy_(policy), shape_(complete(policy, shape)) {
  const skv_shape& s = shape_;
  const size_t heads = (size_t)s.max_seqs * s.layers * s.kv_heads, io = skv_kv_bytes(s.io_type);
  const size_t kv = (size_t)s.max_tokens * s.kv_heads * s.head_dim * io;
  inv_freq_ = device::Array<float>(inv_freq.size());
  inv_freq_.set(inv_freq);
  layers_ = layers_of(s, 0, inv_freq_.data());
  shape_.layer = layers_.data();
  table_ = scattered_tables(s);
  tables_ = device::Array<int32_t>(table_.size());
  tables_.set(table_);
  host_lengths_.assign(heads, 0);
  lengths_ = device::Array<int32_t>(heads);
  profiles_ = device::Array<int32_t>(heads);
  lengths_.set(host_lengths_);

  pool_ = device::Array<uint8_t>((size_t)s.pages * s.page_bytes);
  rows_ = device::Array<skv_row>(s.max_rows);
  budgets_ = device::Array<int32_t>((size_t)s.max_seqs * s.layers);
  params_ = device::Array<float>((size_t)s.max_seqs * SKV_MAX_PARAMS);
  classes_ = device::Array<int32_t>(s.max_tokens);
  q_ = device::Array<uint8_t>(kv * s.group);
  k_ = device::Array<uint8_t>(kv);
  v_ = device::Array<uint8_t>(kv);
  out_ = device::Array<uint8_t>(kv * s.group);
  lse_ = device::Array<float>((size_t)s.max_tokens * s.kv_heads * s.group);
  logits_ = device::Array<float>(policy->step_floats(&shape_));
  scratch_ = device::Array<uint8_t>(policy->scratch_bytes(&shape_));
  point();
}

// What never moves: the step's and the call's pointers.
void Harness::point() {
  step_.abi_version = SKV_ABI_VERSION;
  step_.size = sizeof step_;
  step_.shape = &shape_;
  step_.row = rows_.data();
  step_.pool = pool_.data();
  step_.tables = tables_.data();
  step_.lengths = lengths_.data();
  step_.profiles = profiles_.data();
  step_.budgets = budgets_.data();
  step_.params = params_.data();
  step_.classes = classes_.data();
  step_.q = (float*)q_.data();
  step_.k = (float*)k_.data();
  step_.v = (float*)v_.data();
  step_.out = (float*)out_.data();
  step_.lse = lse_.data();
  step_.logits = logits_.data();
  exec_.workers = device::multiprocessors();
  exec_.stream = device::stream();
  exec_.scratch = scratch_.data();
  exec_.scratch_bytes = (int64_t)scratch_.bytes();
}

void Harness::begin(const Step& step) {
  rows_.set(step.rows);
  budgets_.set(step.budgets);
  classes_.set(step.classes);
  params_.set(step.params);
  step_.rows = (int32_t)step.rows.size();
  step_.hints = hints_of(step.rows, shape_, host_lengths_);
}

void Harness::inputs(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v) {
  const int type = shape_.io_type;
  q_.set(encode(q.data(), q.size(), type));
  k_.set(encode(k.data(), k.size(), type));
  v_.set(encode(v.data(), v.size(), type));
}

void Harness::copy_pages(const std::vector<int32_t>& pairs) {
  device::Array<int32_t> list(pairs.size());
  list.set(pairs);
  call("copy", policy_->copy(&step_, list.data(), (int32_t)pairs.size() / 2, &exec_));
  device::wait();
}

std::vector<float> Harness::out(int tokens) const {
  const size_t n = (size_t)tokens * shape_.kv_heads * shape_.group * shape_.head_dim;
  return decode(out_.get(0, n * skv_kv_bytes(shape_.io_type)).data(), n, shape_.io_type);
}

std::vector<float> Harness::lse(int tokens) const {
  return lse_.get(0, (size_t)tokens * shape_.kv_heads * shape_.group);
}

const std::vector<int32_t>& Harness::read_lengths() { return host_lengths_ = lengths_.get(0, lengths_.size()); }

void Harness::write_lengths(const std::vector<int32_t>& lengths) { lengths_.set(host_lengths_ = lengths); }

Slots Harness::read(int head) const {
  const int live = host_lengths_[head], dim = shape_.head_dim, type = shape_.kv_type;
  const skv_page_layout layout = skv_layout_of(dim, skv_kv_bytes(type), shape_.lanes);
  std::vector<std::vector<int32_t>> lanes(shape_.lanes, std::vector<int32_t>(live));
  std::vector<float> keys((size_t)live * dim), values(keys);
  for (int first = 0; first < live; first += SKV_PAGE) {
    const int32_t number = table_[(size_t)head * shape_.table_stride + first / SKV_PAGE];
    const auto page = pool_.get((size_t)number * shape_.page_bytes, shape_.page_bytes);
    const auto k = decode(page.data() + layout.keys, (size_t)SKV_PAGE * dim, type);
    const auto v = decode(page.data() + layout.values, (size_t)SKV_PAGE * dim, type);
    const auto* words = (const int32_t*)(page.data() + layout.lanes);
    const int n = std::min(SKV_PAGE, live - first);
    std::copy_n(k.begin(), n * dim, keys.begin() + (size_t)first * dim);
    std::copy_n(v.begin(), n * dim, values.begin() + (size_t)first * dim);
    for (int l = 0; l < shape_.lanes; l++) std::copy_n(words + l * SKV_PAGE, n, lanes[l].begin() + first);
  }
  return Slots(lanes, keys, values, dim);
}

void Harness::call(const char* what, int32_t code) {
  if (code) throw std::runtime_error(std::string(policy_->name) + ", " + what + ": " + policy_->error(code));
}
