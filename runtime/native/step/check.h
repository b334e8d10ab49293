/* What a step says of itself is checked once, before anything runs: neither dense models nor policies look again. */
#ifndef SKV_CHECK_H
#define SKV_CHECK_H
#include "backend.h"

namespace skv {

/* What a step may name, beside what the shape has room for. */
struct StepLimits {
  int vocab, max_copies, policies;
};

/* Throws std::runtime_error naming what is wrong. */
void check_step(const skv_step_counts& counts, const skv_buffers& arrays, const skv_shape& shape,
                const StepLimits& limits);

}  // namespace skv
#endif
