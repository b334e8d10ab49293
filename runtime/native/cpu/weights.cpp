#include "weights.h"

#include <algorithm>
#include <atomic>
#include <map>

#include "random_weights.h"
#include "tensors.h"

namespace skv {
namespace {

/* Packs a model's tensors out of its files into an arena. */
class Loader {
 public:
  explicit Loader(const skv_model& m) : files_(m) {
    for (const auto& [key, source] : files_.all()) add(*source);
  }
  size_t bytes() const { return bytes_; }
  bool has(int role, int layer) const { return tensors_.count({role, layer}) != 0; }
  /* Without data where the model has none. */
  Matrix matrix(int role, int layer) const { return has(role, layer) ? tensors_.at({role, layer}).packed : Matrix{}; }
  const float* vector(int role, int layer) const { return reinterpret_cast<const float*>(matrix(role, layer).data); }
  Linear linear(int role, int bias, int layer) const { return {matrix(role, layer), vector(bias, layer)}; }
  NormWeights norm(int role, int layer) const { return {vector(role, layer), nullptr}; }
  NormWeights norm(int role, int bias, int layer) const { return {vector(role, layer), vector(bias, layer)}; }

  /* Fills [to, to + bytes()). */
  void pack_all(uint8_t* to, Threads& threads, const Progress& progress);

 private:
  struct Tensor {
    const skv_tensor* source;
    Matrix packed;
    size_t offset; /* in the arena */
  };
  /* Row groups [group0, group1) of a tensor, so that one large tensor does not keep one thread busy alone. */
  struct Slice {
    const Tensor* tensor;
    int group0, group1;
  };
  bool is_vector(const skv_tensor& t) const { return files_.shape(t).norm || files_.shape(t).bias; }
  void add(const skv_tensor& t);
  void pack_slice(const Slice& slice) const;

  const Tensors files_;
  std::map<std::pair<int, int>, Tensor> tensors_; /* by role and layer */
  size_t bytes_ = 0;
};

void Loader::add(const skv_tensor& t) {
  Tensor tensor;
  tensor.source = &t;
  tensor.offset = bytes_;
  describe(t.type, t.rows, t.cols, &tensor.packed);
  bytes_ += is_vector(t) ? whole_lines(size_t(t.cols) * sizeof(float)) : tensor.packed.bytes();
  tensors_.emplace(std::make_pair(t.role, t.layer), tensor);
}

/* Rows of bf16, which have nothing behind their groups. */
void pack_random(const Matrix& to, int group0, int group1) {
  const int row0 = group0 * kRows, rows = std::min(to.rows, group1 * kRows) - row0;
  std::vector<uint16_t> numbers(size_t(rows) * to.cols);
  for (size_t i = 0; i < numbers.size(); i++) numbers[i] = random_weight(int64_t(row0) * to.cols + int64_t(i));
  Matrix groups;
  describe(SKV_W_BF16, rows, to.cols, &groups);
  groups.data = to.group(group0);
  pack(groups, SKV_W_BF16, numbers.data(), 0, groups.groups());
}

void Loader::pack_slice(const Slice& slice) const {
  const skv_tensor& t = *slice.tensor->source;
  const Matrix& packed = slice.tensor->packed;
  if (is_vector(t)) return files_.read_vector(t, reinterpret_cast<float*>(packed.data));
  if (Tensors::random(t)) return pack_random(packed, slice.group0, slice.group1);
  pack(packed, t.type, files_.data(t), slice.group0, slice.group1);
  files_.release(t, slice.group0 * kRows, std::min(t.rows, slice.group1 * kRows));
}

void Loader::pack_all(uint8_t* to, Threads& threads, const Progress& progress) {
  constexpr int kSliceGroups = 64;
  std::vector<Slice> slices;
  for (auto& [key, tensor] : tensors_) {
    tensor.packed.data = to + tensor.offset;
    const int groups = tensor.packed.groups(); /* one of a norm or bias */
    for (int g = 0; g < groups; g += kSliceGroups) slices.push_back({&tensor, g, std::min(groups, g + kSliceGroups)});
  }
  std::atomic<int> done{0};
  threads.each(int(slices.size()), [&](int32_t i, int32_t worker) {
    pack_slice(slices[i]);
    const int packed = done.fetch_add(1) + 1;
    if (worker == 0) progress(float(packed) / float(slices.size()));
  });
}

}  // namespace

Weights::Weights(const skv_model& m, Threads& threads, const Progress& progress) {
  Loader loader(m);
  arena_ = std::make_unique<Arena>(loader.bytes() + kPrefetchSlack);
  loader.pack_all(arena_->data(), threads, progress);
  embed = loader.matrix(SKV_T_EMBED, 0);
  positions = loader.matrix(SKV_T_POSITIONS, 0);
  output.w = loader.has(SKV_T_OUTPUT, 0) ? loader.matrix(SKV_T_OUTPUT, 0) : embed;
  output_norm = loader.norm(SKV_T_OUTPUT_NORM, SKV_T_OUTPUT_NORM_BIAS, 0);
  for (int l = 0; l < m.layers; l++) {
    Layer each;
    each.attn_norm = loader.norm(SKV_T_ATTN_NORM, SKV_T_ATTN_NORM_BIAS, l);
    each.q = loader.linear(SKV_T_Q, SKV_T_Q_BIAS, l);
    each.k = loader.linear(SKV_T_K, SKV_T_K_BIAS, l);
    each.v = loader.linear(SKV_T_V, SKV_T_V_BIAS, l);
    each.q_norm = loader.norm(SKV_T_Q_NORM, l);
    each.k_norm = loader.norm(SKV_T_K_NORM, l);
    each.o = loader.linear(SKV_T_O, SKV_T_O_BIAS, l);
    each.attn_post_norm = loader.norm(SKV_T_ATTN_POST_NORM, l);
    each.ffn_norm = loader.norm(SKV_T_FFN_NORM, SKV_T_FFN_NORM_BIAS, l);
    each.gate = loader.linear(SKV_T_GATE, SKV_T_GATE_BIAS, l);
    each.up = loader.linear(SKV_T_UP, SKV_T_UP_BIAS, l);
    each.down = loader.linear(SKV_T_DOWN, SKV_T_DOWN_BIAS, l);
    each.ffn_post_norm = loader.norm(SKV_T_FFN_POST_NORM, l);
    layer.push_back(each);
    for (const Linear* of : {&each.q, &each.k, &each.v, &each.gate, &each.up})
      plain_after_norm = plain_after_norm || (of->w.data && !quantised(of->w.format));
  }
}

}  // namespace skv
