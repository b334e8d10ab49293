/* Numbers of a draw that the CPU and kernels have in common, bit for bit: text for both, which say what SKV_INLINE is.
 */
#ifndef SKV_DRAW_NUMBERS_H
#define SKV_DRAW_NUMBERS_H
#include "backend_records.h"

namespace skv {

/* Probabilities are summed in pieces of so many tokens, and those in order. */
constexpr int kSumPiece = 1024;

SKV_INLINE bool has_penalties(const skv_sampler& s) { return s.repetition != 1 || s.presence != 0 || s.frequency != 0; }

/* Uniform in [0, 1) from (seed, position): splitmix64 of both. */
SKV_INLINE double uniform_of(const skv_sampler& s) {
  uint64_t z =
      (uint64_t(uint32_t(s.seed_hi)) << 32 | uint32_t(s.seed_lo)) + 0x9e3779b97f4a7c15ull * (uint64_t(s.position) + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return double((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

}  // namespace skv
#endif
