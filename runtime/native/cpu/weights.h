/* A model's weights: mapped from its files, checked, and packed for the dense products. */
#ifndef SKV_WEIGHTS_H
#define SKV_WEIGHTS_H
#include <vector>

#include "backend.h"
#include "arena.h"
#include "packed.h"
#include "progress.h"
#include "threads.h"

namespace skv {

/* Weight and bias of a norm, f32 of its size; 1 is added where the model's norm says so. No gain: there is no norm. */
struct NormWeights {
  const float* gain = nullptr;
  const float* bias = nullptr;
};

struct Layer {
  NormWeights attn_norm;
  Linear q, k, v;
  NormWeights q_norm, k_norm; /* [head_dim] */
  Linear o;
  NormWeights attn_post_norm;
  NormWeights ffn_norm;
  Linear gate, up, down;
  NormWeights ffn_post_norm;
};

class Weights {
 public:
  /* Throws std::runtime_error naming the tensor or file at fault. */
  Weights(const skv_model& model, Threads& threads, const Progress& progress);

  Matrix embed;     /* [vocab][width] */
  Matrix positions; /* [positions][width], where there are learned ones */
  Linear output;    /* [vocab][width]; the embedding's data when tied */
  NormWeights output_norm;
  std::vector<Layer> layer;
  /* Whether products that follow a norm read its output as f32, beside int8 or alone. */
  bool plain_after_norm = false;
  size_t bytes() const { return arena_->bytes(); }

 private:
  std::unique_ptr<Arena> arena_;
};

}  // namespace skv
#endif
