/* From one row of logits to a token. A draw depends on the request's seed and the token's position alone. */
#ifndef SKV_SAMPLER_H
#define SKV_SAMPLER_H
#include <utility>
#include <vector>

#include "backend.h"

namespace skv {

/* One per worker: no allocation per draw once it has grown. */
class Sampling {
 public:
  /* logits [vocab] stays unchanged. */
  void draw(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab, skv_sampled* out);

 private:
  const float* adjust(const skv_sampler& s, const skv_buffers& buffers, const float* logits, int vocab);
  void rank(const float* x, int vocab, int count, float least);
  int pick(const skv_sampler& s, const float* x, int vocab);

  std::vector<float> adjusted_;               /* [vocab] after penalties and bias */
  std::vector<float> weights_;                /* [vocab] exponentials relative to the best token's */
  std::vector<int32_t> counts_;               /* [vocab] occurrences among generated tokens */
  std::vector<std::pair<float, int>> ranked_; /* candidates, best first */
};

}  // namespace skv
#endif
