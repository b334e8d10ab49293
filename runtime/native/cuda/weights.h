/* A model's weights on the device: quantised matrices in the bytes of their file, others in the dense type, norms and
 * biases in f32. */
#ifndef SKV_CUDA_WEIGHTS_H
#define SKV_CUDA_WEIGHTS_H
#include <vector>

#include "backend.h"
#include "device.h"
#include "progress.h"
#include "quantised.h"

namespace skv {

class Tensors;
class Threads;

/* Rows of a product's matrix that lie together and are of one type. */
struct DevicePart {
  const QuantisedType* quantised = nullptr; /* null: numbers of the dense type, [rows][cols] */
  const void* w = nullptr;                  /* [rows][row_words] where they are quantised */
  int rows = 0, row_words = 0;
};

/* What one product multiplies with: matrices with the same input, their rows one after another. */
struct DeviceLinear {
  int rows = 0, cols = 0; /* rows 0: the model has none */
  std::vector<DevicePart> part;
  const float* bias = nullptr; /* [rows], zeros where one of the matrices has none; null: none has one */
};

struct DeviceNorm {
  const float* gain = nullptr; /* null: there is no such norm */
  const float* bias = nullptr;
};

struct DeviceLayer {
  DeviceNorm attn_norm, q_norm, k_norm, attn_post_norm, ffn_norm, ffn_post_norm;
  DeviceLinear qkv, o, gate_up, down; /* gate_up: up alone where the MLP is not gated */
  bool is_gated = false;
};

class DeviceWeights {
 public:
  /* type: SKV_F32 or SKV_BF16, the dense type. Throws std::runtime_error naming the tensor or file at fault. */
  DeviceWeights(Device& device, const skv_config& config, int type, const Progress& progress);

  DeviceLinear embed;              /* [vocab][width], one part */
  const void* positions = nullptr; /* [positions][width], or null */
  DeviceLinear output;             /* [vocab][width]; the embedding when tied */
  DeviceNorm output_norm;
  std::vector<DeviceLayer> layer;
  size_t bytes() const { return memory_.bytes(); }

 private:
  DeviceArray<uint8_t> memory_;
};

}  // namespace skv
#endif
