/* A model's weights: mapped from its files, checked, and packed for the dense products. */
#ifndef SKV_WEIGHTS_H
#define SKV_WEIGHTS_H
#include <vector>

#include "backend.h"
#include "arena.h"
#include "packed.h"
#include "threads.h"

namespace skv {

/* Whom a long load tells how far it is; may be nobody. */
struct Progress {
  void (*report)(void* arg, float done) = nullptr;
  void* arg = nullptr;
  void operator()(float done) const {
    if (report) report(arg, done);
  }
};

/* Norms are [width] f32. */
struct Layer {
  const float* attn_norm;
  Matrix q, k, v, o;
  const float* ffn_norm;
  Matrix gate, up, down;
};

class Weights {
 public:
  /* Throws std::runtime_error naming the tensor or file at fault. */
  Weights(const skv_model& model, Threads& threads, const Progress& progress);

  Matrix embed, output; /* [vocab][width]; one and the same data when tied */
  const float* output_norm;
  std::vector<Layer> layer;
  /* Whether products that follow a norm read its output as f32, beside int8 or alone. */
  bool plain_after_norm = false;
  size_t bytes() const { return arena_->bytes(); }

 private:
  std::unique_ptr<Arena> arena_;
};

}  // namespace skv
#endif
