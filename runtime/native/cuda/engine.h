/* The engine that skv_cuda.so hands out: a dense model and a KV cache on a device, and the step that runs both in turn.
 * The device owns weights, pool, scratch and logits; the host owns the shared arrays. A step queues everything and
 * waits once, for drawn tokens and lengths; once more for each group of draws that are not plainly greedy: those are
 * drawn here, by the CPU's code, from logits that were copied over. */
#ifndef SKV_CUDA_ENGINE_H
#define SKV_CUDA_ENGINE_H
#include <memory>
#include <string>
#include <vector>

#include "attention_io.h"
#include "backend.h"
#include "dense_model.h"
#include "device.h"
#include "kv_cache.h"
#include "progress.h"
#include "sampler.h"

namespace skv {

class CudaEngine {
 public:
  /* Throws std::runtime_error. */
  CudaEngine(const skv_config& config, const Progress& progress);

  const skv_buffers& buffers() const { return buffers_; }
  int add_policy(const char* path) { return cache_.add_policy(path); }
  void step(const skv_step_counts& counts);
  int read_lane(int seq, int layer, int head, int lane, int32_t* out) {
    return cache_.read_lane(seq, layer, head, lane, out);
  }
  /* [vocab] of a sampler of the last step, or null. */
  const float* logits(int sampler);
  /* As JSON. */
  std::string describe() const;

 private:
  void upload(const skv_step_counts& counts);
  void sample(int samplers);
  void draw_here(int first, int n);

  const std::unique_ptr<Device> device_;
  const int layers_, vocab_, max_copies_;
  HostArray<uint8_t> shared_; /* buffers_ lie here */
  const skv_buffers buffers_;
  DeviceIo io_;
  DeviceModel model_;
  DeviceCache cache_;

  /* On the device, and as they go there or come from there: */
  DeviceArray<int32_t> token_, position_; /* [max_tokens] */
  DeviceArray<int32_t> source_, place_;   /* [max_tokens] tokens whose logits are read; draws' places among them */
  DeviceArray<int32_t> drawn_;            /* [max_tokens] by draw */
  DeviceArray<float> logits_;             /* [SKV_KEPT_LOGITS][vocab] */
  HostArray<int32_t> sources_, places_, drawns_;
  HostArray<float> read_logits_; /* [SKV_KEPT_LOGITS][vocab] */

  std::vector<int32_t> logit_place_; /* [max_tokens] a token's place among those whose logits are read, or -1 */
  Sampling sampling_;
  int logit_tokens_ = 0, kept_logits_ = 0;
};

}  // namespace skv
#endif
