/* The engine that skv_cuda.so hands out: a dense model and a KV cache on a device, and the step that runs both in turn.
 * The device owns weights, pool, scratch and logits; the host owns the shared arrays. A step sends what has changed in
 * one copy, queues everything and waits once, for drawn tokens and lengths. Steps of generated tokens alone are queued
 * for a class of such steps, with rows and tokens of nobody's where the class has more, and kept as graphs.
 * With pages in host memory the host owns the pool too, and a step waits for q, k and v of every layer and half. */
#ifndef SKV_CUDA_ENGINE_H
#define SKV_CUDA_ENGINE_H
#include <memory>
#include <string>
#include <vector>

#include "attention_io.h"
#include "backend.h"
#include "dense_model.h"
#include "device.h"
#include "device_sampler.h"
#include "host_attention.h"
#include "kv_cache.h"
#include "outbox.h"
#include "progress.h"
#include "step_graphs.h"

namespace skv {

class CudaEngine {
 public:
  /* Throws std::runtime_error. */
  CudaEngine(const skv_config& config, const Progress& progress);

  const skv_buffers& buffers() const { return buffers_; }
  int add_policy(const char* path);
  /* Throws std::runtime_error; Lost where the device answers nothing any more. */
  void step(const skv_step_counts& counts);
  int read_lane(int seq, int layer, int head, int lane, int32_t* out);
  /* [vocab] of a sampler of the last step, or null. */
  const float* logits(int sampler);
  /* As JSON. */
  std::string describe() const;

 private:
  /* How many of each the kernels run for. */
  struct Sizes {
    int rows, tokens, samplers;
  };

  /* fn(cache), of either kind. */
  template <class Fn>
  auto with_cache(Fn&& fn) const {
    return host_ ? fn(host_->cache()) : fn(*cache_);
  }

  void try_out();
  void run(const skv_step_counts& counts);
  bool is_decode(const skv_step_counts& counts) const;
  static Sizes sizes_of(const skv_step_counts& n) { return {n.rows, n.tokens, n.samplers}; }
  Sizes class_of(const skv_step_counts& counts) const;
  void put(const skv_step_counts& counts, const Sizes& sizes);
  void queue(const Sizes& sizes);
  void run_on_device(const skv_step_counts& counts);
  void run_beside_attention(const skv_step_counts& counts);
  void queue_logits(const Sizes& sizes);
  void sample(int samplers);

  const std::unique_ptr<Device> device_;
  const int layers_, vocab_, max_copies_;
  HostArray<uint8_t> shared_; /* buffers_ lie here */
  const skv_buffers buffers_;
  DeviceIo io_;
  DeviceModel model_;
  /* One of the two: */
  const std::unique_ptr<HostAttention> host_;
  const std::unique_ptr<DeviceCache> cache_;

  DeviceSampler sampler_;
  Outbox outbox_;
  StepGraphs graphs_;

  /* On the device: */
  DeviceArray<int32_t> token_, position_; /* [max_tokens] */
  DeviceArray<int32_t> source_, place_;   /* [max_tokens] tokens whose logits are read; draws' places among them */
  DeviceArray<float> logits_;             /* [SKV_KEPT_LOGITS][vocab] */
  HostArray<float> read_logits_;          /* [vocab] */

  std::vector<int32_t> logit_place_;      /* [max_tokens] a token's place among those whose logits are read, or -1 */
  std::vector<int32_t> sources_, places_; /* [max_tokens] source_ and place_ of the step */
  std::vector<skv_row> last_rows_;        /* [max_rows] */
  int logit_tokens_ = 0, kept_logits_ = 0;
};

}  // namespace skv
#endif
