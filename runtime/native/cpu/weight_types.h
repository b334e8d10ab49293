/* Weight types as files have them: the blocks of a row, told apart into scales, minima and whole numbers. */
#ifndef SKV_WEIGHT_TYPES_H
#define SKV_WEIGHT_TYPES_H
#include "packed.h"

namespace skv {

/* A block of a row: weight i = d * (w[i] - zero of the format) + m, with d and m of its half, i / 16. A type without
 * minima leaves m as it is. */
struct FileBlock {
  float d[2] = {0, 0}, m[2] = {0, 0};
  uint8_t w[kBlock] = {0};
};

/* One row of the table: how a file stores a type, `bytes` for each `elements` of a row's numbers, and what it is packed
 * as. */
struct WeightType {
  int32_t type; /* SKV_W_… */
  Format format;
  int elements, bytes;
  /* Block b of a row at `row`; null: plain numbers. */
  void (*read)(const uint8_t* row, int b, FileBlock* out);
};

/* Null for a type that cannot be read. */
const WeightType* find_weight_type(int32_t type);

}  // namespace skv
#endif
