// Dense products in plain loops, sums in f32: what the device's seam, and cuBLASLt under it, come to here.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace emulate {

// Numbers in memory: f32, or bf16; a row is `stride` after the one before.
struct Rows {
  const void* at;
  size_t stride;
  bool wide;  // f32
  float get(size_t row, size_t i) const {
    if (wide) return static_cast<const float*>(at)[row * stride + i];
    const uint32_t bits = uint32_t(static_cast<const uint16_t*>(at)[row * stride + i]) << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
  }
};

// out [token][row], `stride` apart: sums over cols of x [token][col] and w [row][col].
inline void multiply(const Rows& w, const Rows& x, size_t rows, size_t cols, size_t tokens, float* out, size_t stride) {
  for (size_t t = 0; t < tokens; t++)
    for (size_t r = 0; r < rows; r++) {
      float sum = 0;
      for (size_t c = 0; c < cols; c++) sum += x.get(t, c) * w.get(r, c);
      out[t * stride + r] = sum;
    }
}

}  // namespace emulate
