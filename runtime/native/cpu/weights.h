/* A model's weights: mapped from its files, checked, and packed for the dense products. */
#ifndef SKV_WEIGHTS_H
#define SKV_WEIGHTS_H
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "matmul.h"
#include "threads.h"

namespace skv {

/* Zeroed, 64-byte aligned memory that the system backs page by page as it is touched. */
class Arena {
 public:
  explicit Arena(size_t bytes);
  ~Arena();
  Arena(const Arena&) = delete;
  uint8_t* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  uint8_t* data_;
  size_t bytes_;
};

/* An array in an arena of its own: starts on a cache line, costs memory only where it was touched. */
template <class T>
class Array {
 public:
  void resize(size_t n) { arena_ = std::make_unique<Arena>((n_ = n) * sizeof(T)); }
  size_t size() const { return n_; }
  T* data() const { return reinterpret_cast<T*>(arena_->data()); }
  T& operator[](size_t i) const { return data()[i]; }

 private:
  std::unique_ptr<Arena> arena_;
  size_t n_ = 0;
};

struct Layer {
  const float *attn_norm, *ffn_norm; /* [width] */
  Matrix q, k, v, o, gate, up, down;
};

class Weights {
 public:
  /* Throws std::runtime_error naming the tensor or file at fault. */
  Weights(const skv_model& model, Threads& threads, void (*progress)(void*, float), void* arg);

  Matrix embed, output; /* [vocab][width]; one and the same data when tied */
  const float* output_norm;
  bool plain; /* whether products of normed activations read them as f32, beside int8 or alone */
  std::vector<Layer> layer;
  size_t bytes() const { return arena_->bytes(); }

 private:
  std::unique_ptr<Arena> arena_;
};

}  // namespace skv
#endif
