/* From one row of logits to a token. A draw depends on the request's seed and the token's position alone. */
#ifndef SKV_SAMPLER_H
#define SKV_SAMPLER_H
#include <vector>

#include "backend.h"

namespace skv {

/* What a worker draws tokens with: no allocation per draw once its arrays have grown. */
class Sampling {
 public:
  /* logits [vocab] stays unchanged. */
  void draw(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab, skv_sampled* out);

 private:
  struct Candidate {
    float logit;
    int token;
  };
  static bool better(const Candidate& a, const Candidate& b);
  const float* allow(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab);
  const float* adjust(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab);
  void apply_penalties(const skv_sampler& s, const skv_buffers& buffers, int vocab);
  double softmax(const float* x, int vocab, float scale, float least);
  template <class May>
  void find_best(const float* x, int vocab, int count, May may);
  void find_nucleus(const float* x, int vocab, float temperature, double mass);
  double mass_of_best() const;
  int draw_random(const skv_sampler& s, const float* x, int vocab);
  int draw_from_all(double at, int vocab) const;
  int draw_from_best(double at) const;

  std::vector<float> allowed_;  /* [vocab] raw logits, -inf where the mask forbids */
  std::vector<float> adjusted_; /* [vocab] logits after mask, penalties and bias */
  std::vector<float> prob_;     /* [vocab] probabilities relative to the best token's, which is 1 */
  std::vector<double> pieces_;  /* sums of prob_, a piece at a time */
  std::vector<int32_t> counts_; /* [vocab] occurrences among generated tokens */
  std::vector<Candidate> best_; /* best first */
};

}  // namespace skv
#endif
