#include "weights.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <stdexcept>
#include <string>

namespace skv {
namespace {

std::string name_of(const skv_model& m, int role, int layer) {
  const char* known = skv_role_name(role);
  if (!known) return "role " + std::to_string(role);
  return skv_shape_of(&m, role).per_layer ? std::string(known) + " of layer " + std::to_string(layer) : known;
}

std::string size_text(int rows, int cols) { return std::to_string(rows) + " x " + std::to_string(cols); }

/* Packs a model's tensors out of its files into an arena. */
class Loader {
 public:
  explicit Loader(const skv_model& m) : model_(m) {
    for (int i = 0; i < m.files; i++) files_.push_back(std::make_unique<Mapping>(m.file[i]));
    for (int i = 0; i < m.tensors; i++) add(m.tensor[i]);
    for (int role = 0; role < SKV_T_COUNT; role++)
      for (int l = 0; l < count_of(role); l++)
        if (!has(role, l) && (has(role, 0) || !skv_shape_of(&m, role).optional))
          throw std::runtime_error("tensor " + name_of(m, role, l) + " is missing");
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
    skv_role_shape shape;
    Matrix packed;
    size_t offset; /* in the arena */
  };
  /* Row groups [group0, group1) of a tensor, so that one large tensor does not keep one thread busy alone. */
  struct Slice {
    const Tensor* tensor;
    int group0, group1;
  };
  int count_of(int role) const { return skv_shape_of(&model_, role).per_layer ? model_.layers : 1; }
  [[noreturn]] void refuse(const skv_tensor& t, const std::string& what) const {
    throw std::runtime_error("tensor " + name_of(model_, t.role, t.layer) + ": " + what);
  }
  void check(const skv_tensor& t) const;
  void add(const skv_tensor& t);
  void pack_slice(const Slice& slice) const;

  const skv_model& model_;
  std::vector<std::unique_ptr<Mapping>> files_;
  std::map<std::pair<int, int>, Tensor> tensors_; /* by role and layer */
  size_t bytes_ = 0;
};

/* A tensor must have its role's shape, and lie inside its file: neither packing nor the forward pass look again. */
void Loader::check(const skv_tensor& t) const {
  if (t.role < 0 || t.role >= SKV_T_COUNT) refuse(t, "unknown role");
  if (t.layer < 0 || t.layer >= count_of(t.role)) refuse(t, "layer out of range");
  const skv_role_shape shape = skv_shape_of(&model_, t.role);
  if (t.rows != shape.rows || t.cols != shape.cols)
    refuse(t, "is " + size_text(t.rows, t.cols) + ", the model needs " + size_text(shape.rows, shape.cols));
  const size_t bytes = source_bytes(t.type, t.rows, t.cols);
  if (bytes == 0) refuse(t, "type " + std::to_string(t.type) + " is not supported for this shape");
  if (t.file < 0 || t.file >= int(files_.size())) refuse(t, "file index out of range");
  const size_t size = files_[t.file]->bytes();
  if (t.bytes < 0 || size_t(t.bytes) != bytes || t.offset < 0 || size_t(t.offset) > size ||
      size - size_t(t.offset) < bytes)
    refuse(t, "needs " + std::to_string(bytes) + " bytes at " + std::to_string(t.offset) + ", the file has " +
                  std::to_string(size));
}

void Loader::add(const skv_tensor& t) {
  check(t);
  Tensor tensor;
  tensor.source = &t;
  tensor.shape = skv_shape_of(&model_, t.role);
  tensor.offset = bytes_;
  if (!describe(t.type, t.rows, t.cols, &tensor.packed)) refuse(t, "cannot pack");
  if (tensor.shape.norm || tensor.shape.bias) {
    if (quantised(tensor.packed.format)) refuse(t, "a norm or bias must be F32, F16 or BF16");
    bytes_ += whole_lines(size_t(t.cols) * sizeof(float));
  } else {
    bytes_ += tensor.packed.bytes();
  }
  if (!tensors_.emplace(std::make_pair(t.role, t.layer), tensor).second) refuse(t, "is given twice");
}

void Loader::pack_slice(const Slice& slice) const {
  const skv_tensor& t = *slice.tensor->source;
  const Mapping& file = *files_[t.file];
  const uint8_t* source = file.at(size_t(t.offset));
  const Matrix& packed = slice.tensor->packed;
  const skv_role_shape& shape = slice.tensor->shape;
  if (shape.norm || shape.bias) {
    float* to = reinterpret_cast<float*>(packed.data);
    unpack_plain(t.type, source, t.cols, to);
    if (shape.norm && model_.norm == SKV_NORM_RMS_PLUS_ONE)
      for (int i = 0; i < t.cols; i++) to[i] += 1.0f;
    return;
  }
  pack(packed, t.type, source, slice.group0, slice.group1);
  const size_t row_bytes = source_bytes(t.type, 1, t.cols);
  const int row0 = slice.group0 * kRows, row1 = std::min(t.rows, slice.group1 * kRows);
  file.release(size_t(t.offset) + row_bytes * row0, size_t(t.offset) + row_bytes * row1);
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
