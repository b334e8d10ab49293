/* Weights of models without files: always the same numbers, a piece of them as often as it takes. */
#ifndef SKV_RANDOM_WEIGHTS_H
#define SKV_RANDOM_WEIGHTS_H
#include <cstdint>
#include <cstring>

namespace skv {

/* Numbers of a piece: the i-th of a tensor is number i % kRandomWeights. */
constexpr int64_t kRandomWeights = 1 << 20;

/* As bf16: evenly distributed around 0, of standard deviation 0.02. */
inline uint16_t random_weight(int64_t i) {
  uint32_t x = uint32_t(i % kRandomWeights) * 0x9e3779b1u + 1; /* mixed until neighbours have nothing in common */
  x = (x ^ x >> 16) * 0x85ebca6bu;
  x = (x ^ x >> 13) * 0xc2b2ae35u;
  x ^= x >> 16;
  const float value = (float(x >> 8) * 0x1p-24f - 0.5f) * 0.0693f;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return uint16_t(bits >> 16);
}

}  // namespace skv
#endif
