/* Room for quantised activations. */
#ifndef SKV_ACTIVATIONS_H
#define SKV_ACTIVATIONS_H
#include "matmul.h"
#include "arena.h"

namespace skv {

/* Room of Activations::tiles for so many tokens: whole tiles of 16. */
inline size_t tile_bytes(size_t tokens, int cols) { return (tokens + 15) / 16 * 16 * pairs_of(cols) * kPair * 2; }

class ActivationRows {
 public:
  /* So many tokens of up to `cols` inputs. */
  ActivationRows(size_t tokens, int cols)
      : pairs_(pairs_of(cols)),
        tiles_(tile_bytes(tokens, cols)),
        coarse_(tokens * pairs_),
        fine_(tokens * pairs_),
        has_fine_(tokens * words_of(int(pairs_))) {}

  /* Tokens from `row` on, a multiple of 16: x [token][cols] is what they are quantised from. */
  Activations at(size_t row, const float* x, int cols, bool keeps_fine = false) const {
    Activations a;
    a.cols = cols;
    a.x = x;
    a.stride = cols;
    a.coarse = coarse_.from(row * pairs_);
    a.fine = fine_.from(row * pairs_);
    a.keeps_fine = keeps_fine;
    a.has_fine = has_fine_.data() + row * words_of(int(pairs_));
    a.tiles = tiles_.data() + row * pairs_ * kPair * 2;
    return a;
  }

 private:
  class Pairs {
   public:
    explicit Pairs(size_t n)
        : q_(n * kPair), scale_(n), sum_(n * 2), half_sum_(n * 4), offset_(n * 2), half_offset_(n * 4) {}
    Int8Pairs from(size_t pair) const {
      Int8Pairs p;
      p.q = q_.data() + pair * kPair;
      p.scale = scale_.data() + pair;
      p.sum = sum_.data() + pair * 2;
      p.half_sum = half_sum_.data() + pair * 4;
      p.offset = offset_.data() + pair * 2;
      p.half_offset = half_offset_.data() + pair * 4;
      return p;
    }

   private:
    Array<int8_t> q_;
    Array<float> scale_;
    Array<int16_t> sum_, half_sum_;
    Array<int32_t> offset_, half_offset_;
  };

  size_t pairs_;
  Array<uint8_t> tiles_;
  Pairs coarse_, fine_;
  Array<uint64_t> has_fine_;
};

}  // namespace skv
#endif
