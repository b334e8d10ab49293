/* The CPU engine: one model, one pool, its policies, and the step that runs them. */
#ifndef SKV_ENGINE_H
#define SKV_ENGINE_H
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "sampler.h"
#include "threads.h"
#include "weights.h"

namespace skv {

/* Tokens that one worker takes through a layer's products: their activations stay in its second-level cache. */
constexpr int kTogether = 32;

class Engine {
 public:
  Engine(const skv_config& config, skv_buffers* buffers, void (*progress)(void*, float), void* arg);

  int add_policy(const char* path);
  void step(const skv_step_counts& counts);
  int read_lane(int seq, int layer, int head, int lane, int32_t* out) const;
  const float* logits(int sampler) const {
    return sampler >= 0 && sampler < kept_logits_ ? &logits_[size_t(sampler) * model_.vocab] : nullptr;
  }
  std::string describe() const;

 private:
  /* Tokens [first, first + n) of a step. Alone: one worker takes them from product to product; else all workers share
   * each product. */
  struct Tokens {
    int first, n;
    bool alone = false;
    int worker = 0;
    /* Their first row in what lasts only from product to product: a place of the worker's own, which stays in its cache
     * from one such part of a step to the next. */
    size_t passing() const { return alone ? size_t(worker) * kTogether : size_t(first); }
  };
  struct Out { /* one of the products of a projection */
    const Matrix* w;
    float* to;
    int stride;
  };
  void check(const skv_step_counts& counts) const;
  void copy_pages(int copies);
  void embed(int tokens);
  int find_drawn(const skv_step_counts& counts);
  void gather_drawn(int tokens);
  void sample(int samplers);

  /* forward.cpp */
  template <class Fn>
  void dense(int tokens, Fn&& fn);
  void start_layer(int layer, const Tokens& some);
  void finish_layer(int layer, const Tokens& some);
  void add_residual(const Tokens& some);
  template <class Fn>
  void over(const Tokens& some, Fn&& fn);
  Activations part(const Tokens& some, const float* x, int cols) const;
  void quantise(const Activations& to, int32_t i, const float* x) const;
  void normalise(const Tokens& some, int32_t i, int32_t worker, const float* gain, const Activations& to);
  void project(const Tokens& some, const Activations& a, std::initializer_list<Out> outs);
  void run_policies(const skv_step_counts& counts, int layer);
  void compact(const skv_step_counts& counts);
  void size_scratch();
  void share_buffers(const skv_config& config);

  skv_model model_;
  std::vector<float> inv_freq_;
  skv_shape shape_{};
  int max_rows_, max_seqs_, max_copies_, pages_, widest_;
  Threads threads_;
  Weights weights_;
  Arena pool_;
  std::vector<const skv_policy*> policies_;
  const Isa* isa_;

  /* shared with TypeScript */
  skv_buffers buffers_{};
  std::vector<int32_t> words_;
  std::unique_ptr<Arena> tables_;

  /* activations, [max_tokens][…] f32 */
  Array<float> x_, q_, k_, v_, attended_, lse_, cos_, sin_;
  Array<float> normed_;        /* [worker][width] */
  Array<float> h_, gate_, up_; /* [Tokens::passing()][…], and quantised: */
  Array<int8_t> int8_;
  Array<float> scale_;
  Array<int16_t> sum_;
  Array<int32_t> offset_;
  Array<float> last_, logits_; /* [SKV_KEPT_LOGITS][width], [SKV_KEPT_LOGITS][vocab] */
  int kept_logits_ = 0;
  std::vector<int32_t> drawn_;     /* [max_tokens] a token's place among those that logits are asked of, or -1 */
  std::vector<skv_row> last_rows_; /* [max_rows] what attention in the last layer is asked of */
  std::vector<Sampling> sampling_; /* one per worker */

  std::unique_ptr<Arena> step_floats_;
  std::unique_ptr<Arena> scratch_;
  skv_exec exec_{};
  skv_step step_{};
};

}  // namespace skv
#endif
