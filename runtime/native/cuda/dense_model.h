/* The dense model on a device: the same steps as the CPU's (cpu/dense_model.h), each a few launches on the stream.
 *
 *   embed                     token, position             -> x, the residual stream
 *   up_to_attention(layer)    x, out of the layer before  -> x; q, k, v of the layer, rotated
 *   (attention, elsewhere)    q, k, v                     -> out, see attention_io.h
 *   gather                    tokens whose logits nobody reads leave x and out
 *   after_last_attention      x, out of the last layer    -> x
 *   logits                    x of some tokens            -> logits
 *
 * A token's bits depend on nothing but the token, its position and what attention gave it, as far as that is true of
 * products: the emulation's are so with plain weights; quantised ones are multiplied by a kernel of its own for a few
 * tokens (quantised.h) and as panels of plain numbers for more, and cuBLASLt chooses by how many tokens there are. */
#ifndef SKV_CUDA_DENSE_MODEL_H
#define SKV_CUDA_DENSE_MODEL_H
#include "attention_io.h"
#include "backend.h"
#include "device.h"
#include "weights.h"

struct NormNumbers;

namespace skv {

class DeviceModel {
 public:
  /* type: SKV_F32 or SKV_BF16, of weights and of what they meet. device and io must outlive this. Throws
   * std::runtime_error. */
  DeviceModel(Device& device, const skv_config& config, int type, DeviceIo& io, const Progress& progress);

  /* token and position [tokens] lie on the device. */
  void embed(const int32_t* token, const int32_t* position, int tokens);
  /* Of the step's tokens [first, first + n). */
  void up_to_attention(int layer, int first, int n);
  /* Attention's output of these tokens, as it has come from elsewhere, becomes what products meet. */
  void take_out(int first, int n);
  /* Token source[i], on the device, becomes the i-th of n. */
  void gather(const int32_t* source, int n);
  void after_last_attention(int tokens);
  /* Logits [n][vocab], on the device, of the tokens that stand at these places of the residual stream. */
  void logits(const int32_t* place, int n, float* out);

  size_t weight_bytes() const { return weights_.bytes(); }

 private:
  void after_attention(int layer, int first, int n);
  /* out [tokens][by.rows] */
  void multiply(const DeviceLinear& by, const void* x, int tokens, float* out);
  void multiply_dense(const void* w, int rows, const DeviceLinear& by, const void* x, int tokens, float* out);
  void multiply_panels(const DevicePart& part, const DeviceLinear& by, const void* x, int tokens, float* out);
  void dequantise(const DevicePart& part, int cols, const int32_t* source, int row0, int n, uint32_t* out, int type);
  int panel_rows(int cols) const;
  size_t panel_words() const;
  NormNumbers numbers(const DeviceNorm& norm) const;
  /* Of n tokens' h: x += h, after its bias and its norm `post`; then x's norm into normed_, unless that is null. */
  void add_and_norm(int first, int n, const float* bias, const DeviceNorm* post, const DeviceNorm* norm);
  /* Of a token's attention, as products meet it. */
  size_t out_words() const { return type_words(size_t(model_.heads) * model_.head_dim); }
  size_t type_words(size_t n) const { return type_ == SKV_F32 ? n : n / 2; }

  Device& device_;
  const skv_model model_;
  const int type_;
  DeviceIo& io_;
  const DeviceWeights weights_;
  const int frequencies_; /* of all tables of RoPE */

  DeviceArray<float> inv_freq_;        /* [ropes][head_dim / 2] */
  DeviceArray<float> cosine_, sine_;   /* [max_tokens][frequencies_] */
  DeviceArray<float> x_, gathered_x_;  /* [max_tokens][width] */
  DeviceArray<float> h_;               /* [max_tokens][width]; of half a step's tokens from 0 on, as what follows */
  DeviceArray<float> products_;        /* [max_tokens][what is widest of qkv, gate_up] */
  DeviceArray<uint32_t> panel_;        /* [panel_rows()][cols] of the dense type: rows of a quantised matrix */
  DeviceArray<uint32_t> normed_;       /* [max_tokens][width] of the dense type */
  DeviceArray<uint32_t> gated_;        /* [max_tokens][ffn] of the dense type */
  DeviceArray<uint32_t> taken_out_;    /* [max_tokens][heads][head_dim] of the dense type, where out has another */
  DeviceArray<uint32_t> gathered_out_; /* [max_tokens][heads][head_dim] of the dense type */
  /* The residual stream and attention's output, before or after gather. */
  float* now_x_;
  const uint32_t* now_out_;
};

}  // namespace skv
#endif
