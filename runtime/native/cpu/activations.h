/* Room for quantised activations. */
#ifndef SKV_ACTIVATIONS_H
#define SKV_ACTIVATIONS_H
#include "matmul.h"
#include "arena.h"

namespace skv {

class ActivationRows {
 public:
  /* So many tokens of up to `cols` inputs. */
  ActivationRows(size_t tokens, int cols)
      : pairs_(pairs_of(cols)),
        q_(tokens * pairs_ * kPair),
        scale_(tokens * pairs_),
        sum_(tokens * pairs_ * 2),
        half_sum_(tokens * pairs_ * 4),
        offset_(tokens * pairs_ * 2),
        half_offset_(tokens * pairs_ * 4) {}

  /* Tokens from `row` on: x [token][cols] is what they are quantised from. */
  Activations at(size_t row, const float* x, int cols) const {
    const size_t pair = row * pairs_;
    Activations a;
    a.cols = cols;
    a.x = x;
    a.stride = cols;
    a.q = q_.data() + pair * kPair;
    a.scale = scale_.data() + pair;
    a.sum = sum_.data() + pair * 2;
    a.half_sum = half_sum_.data() + pair * 4;
    a.offset = offset_.data() + pair * 2;
    a.half_offset = half_offset_.data() + pair * 4;
    return a;
  }

 private:
  size_t pairs_;
  Array<int8_t> q_;
  Array<float> scale_;
  Array<int16_t> sum_, half_sum_;
  Array<int32_t> offset_, half_offset_;
};

}  // namespace skv
#endif
