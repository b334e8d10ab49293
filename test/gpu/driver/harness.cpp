#include "harness.h"

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

uint16_t to_bf16(float x) {  // to nearest, ties to even
  const uint32_t bits = bits_of(x);
  return x != x ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

uint16_t to_f16(float x) {  // to nearest, ties to even
  const uint16_t sign = bits_of(x) >> 16 & 0x8000;
  const float size = std::fabs(x);
  if (x != x) return 0x7e00;
  if (size >= 65520.0f) return sign | 0x7c00;
  if (size < 6.103515625e-5f) return sign | (uint16_t)std::nearbyint(size * 16777216.0f);
  int exponent;
  std::frexp(size, &exponent);
  return sign | (uint16_t)(((exponent + 14) << 10) + ((int)std::nearbyint(std::ldexp(size, 11 - exponent)) - 1024));
}
float from_f16(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 31  ? (fraction ? NAN : INFINITY)
                     : exponent == 0 ? std::ldexp((float)fraction, -24)
                                     : std::ldexp((float)(fraction + 1024), exponent - 25);
  return bits >> 15 ? -size : size;
}

int pages_of(const skv_shape& s) { return s.max_seqs * s.layers * s.kv_heads * s.table_stride; }

// What follows from the numbers that a user of the harness gives.
skv_shape complete(const skv_policy* policy, skv_shape s) {
  s.lanes = policy->lanes;
  s.page_bytes = skv_layout_of(s.head_dim, skv_kv_bytes(s.kv_type), s.lanes).bytes;
  s.table_stride = (s.max_slots + SKV_PAGE - 1) / SKV_PAGE;
  s.pages = pages_of(s) + 1;
  if (s.max_rows == 0) s.max_rows = s.max_seqs;
  s.scale = 1 / std::sqrt((float)s.head_dim);
  return s;
}

}  // namespace

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

std::vector<uint8_t> encode(const float* x, size_t n, int type) {
  std::vector<uint8_t> out(n * size_of(type));
  if (type == SKV_F32) {
    memcpy(out.data(), x, out.size());
    return out;
  }
  auto* words = (uint16_t*)out.data();
  for (size_t i = 0; i < n; i++) words[i] = type == SKV_BF16 ? to_bf16(x[i]) : to_f16(x[i]);
  return out;
}

std::vector<float> decode(const uint8_t* bytes, size_t n, int type) {
  std::vector<float> out(n);
  if (type == SKV_F32) {
    memcpy(out.data(), bytes, n * 4);
    return out;
  }
  const auto* words = (const uint16_t*)bytes;
  for (size_t i = 0; i < n; i++) out[i] = type == SKV_BF16 ? float_of((uint32_t)words[i] << 16) : from_f16(words[i]);
  return out;
}

int64_t Harness::pool_bytes(const skv_policy* policy, const skv_shape& shape) {
  const skv_shape s = complete(policy, shape);
  return (int64_t)s.pages * s.page_bytes;
}

Harness::Harness(const skv_policy* policy, skv_shape shape, const std::vector<float>& inv_freq)
    : policy_(policy), shape_(complete(policy, shape)) {
  const skv_shape& s = shape_;
  const size_t heads = (size_t)s.max_seqs * s.layers * s.kv_heads, io = size_of(s.io_type);
  const size_t kv = (size_t)s.max_tokens * s.kv_heads * s.head_dim * io;
  inv_freq_ = device::Array<float>(inv_freq.size()), inv_freq_.set(inv_freq);
  shape_.inv_freq = inv_freq_.data();

  // pages in a scattered order, none twice
  const int pages = pages_of(s);
  table_.resize(pages);
  int stride = pages / 2 + 1;
  while (std::gcd(stride, pages) != 1) stride++;
  for (int i = 0; i < pages; i++) table_[i] = 1 + (int)((int64_t)i * stride % pages);
  tables_ = device::Array<int32_t>(table_.size()), tables_.set(table_);
  host_lengths_.assign(heads, 0);
  lengths_ = device::Array<int32_t>(heads), lengths_.set(host_lengths_);

  pool_ = device::Array<uint8_t>((size_t)s.pages * s.page_bytes);
  rows_ = device::Array<skv_row>(s.max_rows);
  budgets_ = device::Array<int32_t>((size_t)s.max_seqs * s.layers);
  params_ = device::Array<float>((size_t)s.max_seqs * SKV_MAX_PARAMS);
  classes_ = device::Array<int32_t>(s.max_tokens);
  q_ = device::Array<uint8_t>(kv * s.group), out_ = device::Array<uint8_t>(kv * s.group);
  k_ = device::Array<uint8_t>(kv), v_ = device::Array<uint8_t>(kv);
  lse_ = device::Array<float>((size_t)s.max_tokens * s.kv_heads * s.group);
  logits_ = device::Array<float>(policy->step_floats(&shape_));
  scratch_ = device::Array<uint8_t>(policy->scratch_bytes(&shape_));

  step_.abi_version = SKV_ABI_VERSION, step_.size = sizeof step_, step_.shape = &shape_;
  step_.row = rows_.data(), step_.pool = pool_.data(), step_.tables = tables_.data(), step_.lengths = lengths_.data();
  step_.budgets = budgets_.data(), step_.params = params_.data(), step_.classes = classes_.data();
  step_.q = (float*)q_.data(), step_.k = (float*)k_.data(), step_.v = (float*)v_.data(),
  step_.out = (float*)out_.data();
  step_.lse = lse_.data(), step_.logits = logits_.data();
  exec_.workers = device::multiprocessors(), exec_.stream = device::stream();
  exec_.scratch = scratch_.data(), exec_.scratch_bytes = (int64_t)scratch_.bytes();
}

void Harness::begin(const Step& step) {
  rows_.set(step.rows), budgets_.set(step.budgets), classes_.set(step.classes), params_.set(step.params);
  step_.rows = (int32_t)step.rows.size();
  skv_hints hints{};
  for (const skv_row& row : step.rows) {
    const bool decode = row.tokens == 1 && row.pos0 >= row.prompt;
    if (decode)
      hints.decode_rows++;
    else {
      hints.prompt_tokens = std::max(hints.prompt_tokens, row.tokens);
      hints.observed_tokens = std::max(hints.observed_tokens, row.observe1 - row.observe0);
    }
    hints.compact_rows += row.compact;
    const size_t first = index(row.seq, 0, 0), heads = (size_t)shape_.layers * shape_.kv_heads;
    const int32_t longest = *std::max_element(&host_lengths_[first], &host_lengths_[first] + heads);
    hints.slots = std::max(hints.slots, longest + row.tokens);
  }
  step_.hints = hints;
}

void Harness::inputs(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v) {
  const int type = shape_.io_type;
  q_.set(encode(q.data(), q.size(), type)), k_.set(encode(k.data(), k.size(), type)),
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
  return decode(out_.get(0, n * size_of(shape_.io_type)).data(), n, shape_.io_type);
}

std::vector<float> Harness::lse(int tokens) const {
  return lse_.get(0, (size_t)tokens * shape_.kv_heads * shape_.group);
}

const std::vector<int32_t>& Harness::read_lengths() { return host_lengths_ = lengths_.get(0, lengths_.size()); }

void Harness::write_lengths(const std::vector<int32_t>& lengths) { lengths_.set(host_lengths_ = lengths); }

Slots Harness::read(int seq, int layer, int head) const {
  const int live = host_lengths_[index(seq, layer, head)], dim = shape_.head_dim, type = shape_.kv_type;
  const skv_page_layout layout = skv_layout_of(dim, skv_kv_bytes(type), shape_.lanes);
  std::vector<std::vector<int32_t>> lanes(shape_.lanes, std::vector<int32_t>(live));
  std::vector<float> keys((size_t)live * dim), values(keys);
  for (int first = 0; first < live; first += SKV_PAGE) {
    const auto page =
        pool_.get((size_t)this->page(seq, layer, head, first / SKV_PAGE) * shape_.page_bytes, shape_.page_bytes);
    const auto k = decode(page.data() + layout.keys, (size_t)SKV_PAGE * dim, type);
    const auto v = decode(page.data() + layout.values, (size_t)SKV_PAGE * dim, type);
    const auto* words = (const int32_t*)(page.data() + layout.lanes);
    const int n = std::min(SKV_PAGE, live - first);
    std::copy_n(k.begin(), n * dim, keys.begin() + (size_t)first * dim);
    std::copy_n(v.begin(), n * dim, values.begin() + (size_t)first * dim);
    for (int l = 0; l < shape_.lanes; l++) std::copy_n(words + l * SKV_PAGE, n, lanes[l].begin() + first);
  }
  std::vector<int> order(live);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return lanes[0][a] < lanes[0][b]; });
  Slots out{std::vector<std::vector<int32_t>>(lanes.size()), {}, {}};
  for (int slot : order) {
    for (size_t l = 0; l < lanes.size(); l++) out.lanes[l].push_back(lanes[l][slot]);
    out.keys.insert(out.keys.end(), keys.begin() + (size_t)slot * dim, keys.begin() + (size_t)(slot + 1) * dim);
    out.values.insert(out.values.end(), values.begin() + (size_t)slot * dim, values.begin() + (size_t)(slot + 1) * dim);
  }
  return out;
}

void Harness::call(const char* what, int32_t code) {
  if (code) throw std::runtime_error(std::string(policy_->name) + ", " + what + ": " + policy_->error(code));
}
