/* The engine that skv_cpu.so hands out: a dense model, attention, and the step that runs both in turn. */
#ifndef SKV_CPU_ENGINE_H
#define SKV_CPU_ENGINE_H
#include <string>
#include <vector>

#include "arena.h"
#include "attention.h"
#include "attention_io.h"
#include "backend.h"
#include "dense_model.h"
#include "sampler.h"
#include "threads.h"

namespace skv {

class CpuEngine {
 public:
  /* The calling thread is worker 0 of the engine's threads: it must run the steps. Throws std::runtime_error. */
  CpuEngine(const skv_config& config, const Progress& progress);

  const skv_buffers& buffers() const { return buffers_; }
  int add_policy(const char* path) { return attention_.cache().add_policy(path); }
  void step(const skv_step_counts& counts);
  int read_lane(int seq, int layer, int head, int lane, int32_t* out) const {
    return attention_.cache().read_lane(seq, layer, head, lane, out);
  }
  /* [vocab] of a sampler of the last step, or null. */
  const float* logits(int sampler) const;
  /* As JSON. */
  std::string describe() const;

 private:
  void sample(int samplers);

  const int layers_, vocab_, max_copies_;
  Threads threads_;
  Arena shared_; /* buffers_ lie here */
  const skv_buffers buffers_;
  Array<float> handed_; /* io_ lies here */
  const AttentionIo io_;
  Attention attention_;
  DenseModel model_;

  std::vector<int32_t> logit_place_; /* [max_tokens] a token's place among those whose logits are read, or -1 */
  std::vector<skv_row> last_rows_;   /* [max_rows] what attention of the last layer is asked for */
  std::vector<Sampling> sampling_;   /* [worker] */
  Array<float> logits_;              /* [SKV_KEPT_LOGITS][vocab] */
  int kept_logits_ = 0;              /* how many of them are the last step's, by sampler */
};

}  // namespace skv
#endif
