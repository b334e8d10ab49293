#include "tensors.h"

#include <algorithm>
#include <stdexcept>

#include "packed.h"
#include "weight_types.h"

namespace skv {
namespace {

std::string size_text(int rows, int cols) { return std::to_string(rows) + " x " + std::to_string(cols); }

}  // namespace

Tensors::Tensors(const skv_model& m) : model_(m) {
  for (int i = 0; i < m.files; i++) files_.push_back(std::make_unique<Mapping>(m.file[i]));
  for (int i = 0; i < m.tensors; i++) {
    const skv_tensor& t = m.tensor[i];
    check(t);
    if (!found_.emplace(std::make_pair(t.role, t.layer), &t).second) refuse(t, "is given twice");
  }
  for (int role = 0; role < SKV_T_COUNT; role++)
    for (int l = 0; l < count_of(role); l++)
      if (!find(role, l) && (find(role, 0) || !skv_shape_of(&m, role).optional))
        throw std::runtime_error("tensor " + name_of(role, l) + " is missing");
}

const skv_tensor* Tensors::find(int role, int layer) const {
  const auto found = found_.find({role, layer});
  return found == found_.end() ? nullptr : found->second;
}

std::string Tensors::name_of(int role, int layer) const {
  const char* known = skv_role_name(role);
  if (!known) return "role " + std::to_string(role);
  return skv_shape_of(&model_, role).per_layer ? std::string(known) + " of layer " + std::to_string(layer) : known;
}

void Tensors::refuse(const skv_tensor& t, const std::string& what) const {
  throw std::runtime_error("tensor " + name_of(t.role, t.layer) + ": " + what);
}

/* A tensor must have its role's shape, and lie inside its file: neither packing nor the forward pass look again. */
void Tensors::check(const skv_tensor& t) const {
  if (t.role < 0 || t.role >= SKV_T_COUNT) refuse(t, "unknown role");
  if (t.layer < 0 || t.layer >= count_of(t.role)) refuse(t, "layer out of range");
  const skv_role_shape shape = skv_shape_of(&model_, t.role);
  if (t.rows != shape.rows || t.cols != shape.cols)
    refuse(t, "is " + size_text(t.rows, t.cols) + ", the model needs " + size_text(shape.rows, shape.cols));
  const size_t bytes = source_bytes(t.type, t.rows, t.cols);
  if (bytes == 0) refuse(t, "type " + std::to_string(t.type) + " is not supported for this shape");
  if (t.file == -1) {
    if (t.type != SKV_W_BF16) refuse(t, "random numbers are of type BF16");
    return;
  }
  if (t.file < 0 || t.file >= int(files_.size())) refuse(t, "file index out of range");
  const size_t size = files_[t.file]->bytes();
  if (t.bytes < 0 || size_t(t.bytes) != bytes || t.offset < 0 || size_t(t.offset) > size ||
      size - size_t(t.offset) < bytes)
    refuse(t, "needs " + std::to_string(bytes) + " bytes at " + std::to_string(t.offset) + ", the file has " +
                  std::to_string(size));
  if ((shape.norm || shape.bias) && quantised(find_weight_type(t.type)->format))
    refuse(t, "a norm or bias must be F32, F16 or BF16");
}

void Tensors::read_vector(const skv_tensor& t, float* out) const {
  if (random(t)) {
    const bool one = shape(t).norm && model_.norm != SKV_NORM_RMS_PLUS_ONE;
    std::fill_n(out, t.cols, one ? 1.0f : 0.0f);
  } else {
    unpack_plain(t.type, data(t), t.cols, out);
  }
  if (shape(t).norm && model_.norm == SKV_NORM_RMS_PLUS_ONE)
    for (int i = 0; i < t.cols; i++) out[i] += 1.0f;
}

void Tensors::release(const skv_tensor& t, int row0, int row1) const {
  if (random(t)) return;
  const size_t row = source_bytes(t.type, 1, t.cols), at = size_t(t.offset);
  files_[t.file]->release(at + row * row0, at + row * row1);
}

}  // namespace skv
