/* A model's tensors where its files have them: mapped, checked once, found by role and layer. */
#ifndef SKV_TENSORS_H
#define SKV_TENSORS_H
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arena.h"
#include "backend.h"

namespace skv {

class Tensors {
 public:
  /* The model must outlive this. Throws std::runtime_error naming the tensor or file at fault. */
  explicit Tensors(const skv_model& model);

  /* Null where the model has none. */
  const skv_tensor* find(int role, int layer) const;
  /* All of them, by role and layer. */
  const std::map<std::pair<int, int>, const skv_tensor*>& all() const { return found_; }
  /* Where its file has it. */
  const uint8_t* data(const skv_tensor& tensor) const { return files_[tensor.file]->at(size_t(tensor.offset)); }
  /* It is in no file: its numbers are random_weights.h's, a norm's ones, a bias's zeros. */
  static bool random(const skv_tensor& tensor) { return tensor.file < 0; }
  skv_role_shape shape(const skv_tensor& tensor) const { return skv_shape_of(&model_, tensor.role); }
  /* One row of a norm's weight or a bias, f32 [cols]; 1 is added where the model's norm says so. */
  void read_vector(const skv_tensor& tensor, float* out) const;
  /* Rows [row0, row1) are not read again. */
  void release(const skv_tensor& tensor, int row0, int row1) const;

 private:
  int count_of(int role) const { return skv_shape_of(&model_, role).per_layer ? model_.layers : 1; }
  void check(const skv_tensor& tensor) const;
  std::string name_of(int role, int layer) const;
  [[noreturn]] void refuse(const skv_tensor& tensor, const std::string& what) const;

  const skv_model& model_;
  std::vector<std::unique_ptr<Mapping>> files_;
  std::map<std::pair<int, int>, const skv_tensor*> found_;
};

}  // namespace skv
#endif
