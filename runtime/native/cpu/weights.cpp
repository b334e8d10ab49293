#include "weights.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <stdexcept>
#include <string>

namespace skv {
namespace {

/* Sizes that a model's numbers give a tensor. */
enum class Size { one, width, q, kv, ffn, vocab };

int size_of(const skv_model& m, Size size) {
  switch (size) {
    case Size::one:
      return 1;
    case Size::width:
      return m.width;
    case Size::q:
      return m.heads * m.head_dim;
    case Size::kv:
      return m.kv_heads * m.head_dim;
    case Size::ffn:
      return m.ffn;
    case Size::vocab:
      return m.vocab;
  }
  return 0;
}

/* What the forward pass reads of each role, in the order of SKV_T_…. A tensor of one row is a norm's gain: f32 as it
 * is; the others are packed for products. */
struct Role {
  Size rows, cols;
  bool per_layer, required;
};
constexpr Role kRoles[SKV_T_COUNT] = {
    {Size::vocab, Size::width, false, true},  /* embed */
    {Size::one, Size::width, false, true},    /* outputNorm */
    {Size::vocab, Size::width, false, false}, /* output: embed where it is absent */
    {Size::one, Size::width, true, true},     /* attnNorm */
    {Size::q, Size::width, true, true},       /* q */
    {Size::kv, Size::width, true, true},      /* k */
    {Size::kv, Size::width, true, true},      /* v */
    {Size::width, Size::q, true, true},       /* o */
    {Size::one, Size::width, true, true},     /* ffnNorm */
    {Size::ffn, Size::width, true, true},     /* gate */
    {Size::ffn, Size::width, true, true},     /* up */
    {Size::width, Size::ffn, true, true},     /* down */
};

std::string name_of(int role, int layer) {
  const char* known = skv_role_name(role);
  if (!known) return "role " + std::to_string(role);
  return kRoles[role].per_layer ? std::string(known) + " of layer " + std::to_string(layer) : known;
}

[[noreturn]] void fail(int role, int layer, const std::string& what) {
  throw std::runtime_error("tensor " + name_of(role, layer) + ": " + what);
}

std::string shape_text(int rows, int cols) { return std::to_string(rows) + " x " + std::to_string(cols); }

/* Packs a model's tensors out of its files into an arena. */
class Loader {
 public:
  explicit Loader(const skv_model& m) : model_(m) {
    for (int i = 0; i < m.files; i++) files_.push_back(std::make_unique<Mapping>(m.file[i]));
    for (int i = 0; i < m.tensors; i++) add(m.tensor[i]);
    for (int role = 0; role < SKV_T_COUNT; role++)
      for (int l = 0; l < layers_of(role); l++)
        if (kRoles[role].required && !has(role, l))
          throw std::runtime_error("tensor " + name_of(role, l) + " is missing");
  }
  size_t bytes() const { return bytes_; }
  bool has(int role, int layer) const { return tensors_.count({role, layer}) != 0; }
  const Matrix& matrix(int role, int layer) const { return tensors_.at({role, layer}).packed; }
  const float* norm(int role, int layer) const { return reinterpret_cast<const float*>(matrix(role, layer).data); }

  /* Fills [to, to + bytes()). */
  void pack_all(uint8_t* to, Threads& threads, const Progress& progress);

 private:
  struct Tensor {
    const skv_tensor* source;
    bool is_norm;
    Matrix packed;
    size_t offset; /* in the arena */
  };
  /* Row groups [group0, group1) of a tensor, so that one large tensor does not keep one thread busy alone. */
  struct Slice {
    const Tensor* tensor;
    int group0, group1;
  };
  int layers_of(int role) const { return kRoles[role].per_layer ? model_.layers : 1; }
  void check(const skv_tensor& t) const;
  void add(const skv_tensor& t);
  void pack_slice(const Slice& slice) const;

  const skv_model& model_;
  std::vector<std::unique_ptr<Mapping>> files_;
  std::map<std::pair<int, int>, Tensor> tensors_; /* by role and layer */
  size_t bytes_ = 0;
};

void Loader::check(const skv_tensor& t) const {
  auto refuse = [&](const std::string& what) { fail(t.role, t.layer, what); };
  if (t.role < 0 || t.role >= SKV_T_COUNT) refuse("unknown role");
  if (t.layer < 0 || t.layer >= layers_of(t.role)) refuse("layer out of range");
  const int rows = size_of(model_, kRoles[t.role].rows), cols = size_of(model_, kRoles[t.role].cols);
  if (t.rows != rows || t.cols != cols)
    refuse("is " + shape_text(t.rows, t.cols) + ", the model needs " + shape_text(rows, cols));
  const size_t bytes = source_bytes(t.type, t.rows, t.cols);
  if (bytes == 0) refuse("type " + std::to_string(t.type) + " is not supported for this shape");
  if (t.file < 0 || t.file >= int(files_.size())) refuse("file index out of range");
  const size_t size = files_[t.file]->bytes();
  if (t.bytes < 0 || size_t(t.bytes) != bytes || t.offset < 0 || size_t(t.offset) > size ||
      size - size_t(t.offset) < bytes)
    refuse("needs " + std::to_string(bytes) + " bytes at " + std::to_string(t.offset) + ", the file has " +
           std::to_string(size));
}

void Loader::add(const skv_tensor& t) {
  check(t);
  Tensor tensor;
  tensor.source = &t;
  tensor.is_norm = kRoles[t.role].rows == Size::one;
  tensor.offset = bytes_;
  if (!describe(t.type, t.rows, t.cols, &tensor.packed)) fail(t.role, t.layer, "cannot pack");
  if (tensor.is_norm) {
    if (quantised(tensor.packed.format)) fail(t.role, t.layer, "a norm must be F32, F16 or BF16");
    bytes_ += whole_lines(size_t(t.cols) * sizeof(float));
  } else {
    bytes_ += tensor.packed.bytes();
  }
  if (!tensors_.emplace(std::make_pair(t.role, t.layer), tensor).second) fail(t.role, t.layer, "is given twice");
}

void Loader::pack_slice(const Slice& slice) const {
  const skv_tensor& t = *slice.tensor->source;
  const Mapping& file = *files_[t.file];
  const uint8_t* source = file.at(size_t(t.offset));
  const Matrix& packed = slice.tensor->packed;
  if (slice.tensor->is_norm) {
    unpack_plain(t.type, source, t.cols, reinterpret_cast<float*>(packed.data));
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
    const int groups = tensor.packed.groups(); /* one of a norm */
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
  output = loader.has(SKV_T_OUTPUT, 0) ? loader.matrix(SKV_T_OUTPUT, 0) : embed;
  output_norm = loader.norm(SKV_T_OUTPUT_NORM, 0);
  for (int l = 0; l < m.layers; l++) {
    Layer each;
    each.attn_norm = loader.norm(SKV_T_ATTN_NORM, l);
    each.q = loader.matrix(SKV_T_Q, l);
    each.k = loader.matrix(SKV_T_K, l);
    each.v = loader.matrix(SKV_T_V, l);
    each.o = loader.matrix(SKV_T_O, l);
    each.ffn_norm = loader.norm(SKV_T_FFN_NORM, l);
    each.gate = loader.matrix(SKV_T_GATE, l);
    each.up = loader.matrix(SKV_T_UP, l);
    each.down = loader.matrix(SKV_T_DOWN, l);
    layer.push_back(each);
    for (const Matrix* w : {&each.q, &each.k, &each.v, &each.gate, &each.up})
      plain_after_norm = plain_after_norm || !quantised(w->format);
  }
}

}  // namespace skv
