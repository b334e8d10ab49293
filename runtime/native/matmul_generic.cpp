/* The reference path: plain loops, any processor. The other paths must produce its bits. */
#include <cmath>
#include <cstring>

#include "matmul.h"

namespace skv {
namespace {

float half(const uint8_t* at) {
  uint16_t h;
  memcpy(&h, at, 2);
  return f16_to_f32(h);
}

float quantised_row(const Matrix& w, const Activations& a, const uint8_t* group, int r, int t) {
  const int blocks = w.cols / kBlock;
  float acc = 0, acc_m = 0;
  for (int b = 0; b < blocks; b++) {
    const int8_t* q = a.q + size_t(t) * w.cols + b * kBlock;
    const size_t at = size_t(t) * blocks + b;
    int32_t sum = 0;
    if (w.format == Format::Q4) {
      const uint8_t* block = group + 320 * b;
      for (int i = 0; i < 16; i++) {
        const uint8_t pair = block[i / 4 * 64 + r * 4 + i % 4];
        sum += (pair & 15) * q[i] + (pair >> 4) * q[16 + i];
      }
      acc = std::fma(float(sum), half(block + 256 + r * 2) * a.scale[at], acc);
      acc_m = std::fma(half(block + 288 + r * 2), a.scaled_sum[at], acc_m);
    } else {
      const uint8_t* block = group + 512 * b;
      for (int i = 0; i < kBlock; i++) sum += (int(block[i / 4 * 64 + r * 4 + i % 4]) - 128) * q[i];
      acc = std::fma(float(sum), half(group + 512 * blocks + 32 * b + r * 2) * a.scale[at], acc);
    }
  }
  return w.format == Format::Q4 ? acc + acc_m : acc;
}

float plain_row(const Matrix& w, const Activations& a, const uint8_t* group, int r, int t) {
  const float* x = a.x + size_t(t) * a.stride;
  float acc = 0;
  for (int c = 0; c < w.cols; c++) {
    const size_t at = size_t(c) * kRows + r;
    float weight;
    if (w.format == Format::F32)
      memcpy(&weight, group + at * 4, 4);
    else if (w.format == Format::F16)
      weight = half(group + at * 2);
    else {
      uint16_t h;
      memcpy(&h, group + at * 2, 2);
      const uint32_t bits = uint32_t(h) << 16;
      memcpy(&weight, &bits, 4);
    }
    acc = std::fma(x[c], weight, acc);
  }
  return acc;
}

void product(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
             int out_stride) {
  for (int g = group0; g < group1; g++) {
    const uint8_t* group = w.data + w.group_bytes() * g;
    for (int t = token0; t < token1; t++)
      for (int r = 0; r < kRows && g * kRows + r < w.rows; r++)
        out[size_t(t) * out_stride + g * kRows + r] =
            quantised(w.format) ? quantised_row(w, a, group, r, t) : plain_row(w, a, group, r, t);
  }
}

bool always() { return true; }

}  // namespace

extern const Isa kGeneric = {"generic", always, product, quantize};

}  // namespace skv
