/* The dense model: everything of the forward pass but attention over pages. A step is
 *
 *   embed                     token, position             -> x, the residual stream
 *   up_to_attention(layer)    x, out of the layer before  -> x; q, k, v of the layer, rotated
 *   (attention, elsewhere)    q, k, v                     -> out, see attention_io.h
 *   gather                    tokens whose logits nobody reads leave x and out
 *   after_last_attention      x, out of the last layer    -> x
 *   logits                    x of some tokens            -> logits
 *
 * The bits of a token's numbers depend on nothing but the token, its position, what attention gave it, and, where the
 * path multiplies prompts otherwise (matmul.h), whether it is one of the prompt. */
#ifndef SKV_DENSE_MODEL_H
#define SKV_DENSE_MODEL_H
#include <initializer_list>
#include <vector>

#include "activations.h"
#include "arena.h"
#include "attention_io.h"
#include "backend.h"
#include "matmul.h"
#include "threads.h"
#include "weights.h"

namespace skv {

class DenseModel {
 public:
  /* Loads the weights. exact: quantised weights meet activations in f32, which is slow and what int8 is judged by.
   * io and threads must outlive this. Throws std::runtime_error. */
  DenseModel(const skv_model& model, int max_tokens, bool exact, const AttentionIo& io, Threads& threads,
             const Progress& progress);

  /* Begins a step of rows with so many tokens in all. */
  void embed(const skv_row* row, int rows, const int32_t* token, const int32_t* position, int tokens);
  /* Of the step's tokens [first, first + n). */
  void up_to_attention(int layer, int first, int n);
  /* Token t moves to place[t], in the same order; those of place -1 are dropped. */
  void gather(const int32_t* place, int tokens);
  void after_last_attention(int tokens);
  /* Logits [n][vocab] of the tokens that stand at these places of the residual stream, n <= SKV_KEPT_LOGITS. */
  void logits(const int32_t* place, int n, float* out);

  const char* isa() const { return isa_->name; }
  /* Whether a token of a prompt has other bits than the same one drawn. */
  bool prompts_apart() const { return isa_->of_prompts.product && !exact_; }
  size_t weight_bytes() const { return weights_.bytes(); }

 private:
  /* Tokens [first, first + n) of a step, and who computes them: one worker from product to product, without waiting for
   * others; or all workers, which share each product. */
  struct TokenRange {
    int first, n;
    bool one_worker = false;
    int worker = 0;
    bool by_tiles = false; /* products of prompts, which differ from others */
    /* The first of their rows in scratch: one worker has its own, which stay in its cache from range to range; what all
     * workers share begins at 0. */
    size_t scratch_row() const;
  };
  struct Output { /* of a projection: to[token * stride + row] */
    const Linear* from;
    float* to;
    int stride;
  };
  template <class Fn>
  void for_ranges(int first, int n, Fn&& fn);
  template <class Fn>
  void for_drawn_ranges(int first, int n, Fn&& fn);
  template <class Fn>
  void for_pieces(const TokenRange& range, int pieces, Fn&& fn);
  template <class Fn>
  void for_tokens(const TokenRange& range, Fn&& fn);
  void before_attention(int layer, const TokenRange& range);
  void after_attention(int layer, const TokenRange& range);
  Activations add_and_norm(const TokenRange& range, const NormWeights* post, const NormWeights& norm,
                           bool keeps_fine = false);
  void add_residual(float* x, float* h, const NormWeights& post) const;
  void normalise(const float* x, const NormWeights& norm, float* out, int n) const;
  Activations gate_by_tiles(const TokenRange& range, const Layer& layer, const Activations& normed);
  void finish_heads(int layer, size_t token);
  Activations inputs(const TokenRange& range, const float* x, int cols, bool keeps_fine = false) const;
  const Products& products_of(const Activations& a) const { return a.by_tiles ? isa_->of_prompts : isa_->products; }
  void quantise(const Activations& to, int32_t i, const float* x) const;
  void project(const TokenRange& range, const Activations& a, std::initializer_list<Output> outputs);
  void product(const Output& out, const Activations& a, int token0, int token1, int group0, int group1) const;
  void exact_product(const Output& out, const Activations& a, int tokens, int group0, int group1) const;

  const skv_model model_;
  const bool exact_;
  const std::vector<float> inv_freq_; /* [ropes][head_dim / 2] */
  const std::vector<int32_t> rope_;   /* [layer] which of them */
  const AttentionIo& io_;
  Threads& threads_;
  const Isa* const isa_;
  const Activate activate_;
  const Weights weights_;

  const int scratch_rows_;
  std::vector<uint8_t> by_tiles_; /* [max_tokens] whether its products are those of prompts */
  Array<float> x_;                /* [max_tokens][width] the residual stream */
  Array<float> cos_, sin_;        /* [max_tokens][ropes][head_dim / 2] of each token's position */
  Array<float> normed_;           /* [worker][width] a norm's output, where products read only its quantised form */
  Array<float> output_in_;        /* [SKV_KEPT_LOGITS][width] input of the last product */
  /* Scratch between two products, by TokenRange::scratch_row: */
  Array<float> h_;           /* [row][width] */
  Array<float> gate_, up_;   /* [row][ffn] */
  ActivationRows quantised_; /* [row] of the product that comes next */
  Array<uint8_t> gated_;     /* as Activations::tiles [row][ffn] */
};

}  // namespace skv
#endif
