/* A step's rows in halves that take turns, where attention runs beside the dense model: while one half is attended to,
 * the dense model computes the other, so that neither waits (FastDecode, He & Zhai 2024, arXiv:2403.11421). */
#ifndef SKV_HALVES_H
#define SKV_HALVES_H
#include <cstddef>

#include "backend.h"

namespace skv {

/* Consecutive rows of a step, and their tokens, which are consecutive too. */
struct Half {
  int index;
  int row0, rows;
  int token0, tokens;
};

/* One or two of them. */
class Halves {
 public:
  /* All rows as one half; or as two that attention has about as much to do for: products of queries and slots, by
   * length [seq][heads] of live slots. */
  Halves(const skv_step_counts& n, const skv_row* row, const int32_t* length, int heads, bool two) {
    half_[0].rows = n.rows;
    half_[0].tokens = n.tokens;
    if (!two || n.rows < 2) return;
    auto products = [&](const skv_row& of) {
      int64_t slots = 0;
      for (int head = 0; head < heads; head++) slots += length[size_t(of.seq) * heads + head] + of.tokens;
      return slots * of.tokens;
    };
    int64_t all = 0;
    for (int r = 0; r < n.rows; r++) all += products(row[r]);
    int cut = 0;
    for (int64_t before = 0; cut < n.rows - 1 && (cut == 0 || 2 * before < all); cut++) before += products(row[cut]);
    half_[0].rows = cut;
    half_[0].tokens = row[cut].token0;
    half_[1].index = 1;
    half_[1].row0 = cut;
    half_[1].rows = n.rows - cut;
    half_[1].token0 = row[cut].token0;
    half_[1].tokens = n.tokens - row[cut].token0;
    count_ = 2;
  }

  const Half* begin() const { return half_; }
  const Half* end() const { return half_ + count_; }

 private:
  Half half_[2] = {};
  int count_ = 1;
};

/* The layers of a step: dense(half, layer) leaves q, k and v, start(half, layer) has them attended to, and may return
 * before that is done; wait(half) returns when it is. */
template <class Dense, class Start, class Wait>
void alternate(const Halves& halves, int layers, Dense&& dense, Start&& start, Wait&& wait) {
  for (int layer = 0; layer < layers; layer++)
    for (const Half& half : halves) {
      if (layer > 0) wait(half);
      dense(half, layer);
      start(half, layer);
    }
  for (const Half& half : halves) wait(half);
}

}  // namespace skv
#endif
