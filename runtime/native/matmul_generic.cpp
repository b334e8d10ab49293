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

int32_t q4_dot(const uint8_t* block, const int8_t* q, int r) {
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) {
    const uint8_t both = block[i / 4 * 64 + r * 4 + i % 4];
    sum += (both & 15) * q[i] + (both >> 4) * q[16 + i];
  }
  return sum;
}

int32_t q8_dot(const uint8_t* block, const int8_t* q, int r) {
  int32_t sum = 0;
  for (int i = 0; i < kBlock; i++) sum += (int(block[i / 4 * 64 + r * 4 + i % 4]) - 128) * q[i];
  return sum;
}

float q4_row(const Matrix& w, const Activations& a, const uint8_t* group, int r, int t) {
  const int pairs = pairs_of(w.cols);
  float acc = 0;
  for (int i = 0; i < pairs; i++, group += kQ4Pair) {
    const int8_t* q = a.q + size_t(t * pairs + i) * kPair;
    const int16_t* sum = a.sum + size_t(t * pairs + i) * 2;
    int16_t m[2];
    memcpy(m, group + r * 4, 4);
    float part = float(m[0] * sum[0] + m[1] * sum[1]);
    for (int b = 0; b < 2; b++)
      part = std::fma(float(q4_dot(group + 128 + b * 256, q + b * kBlock, r)), half(group + 64 + b * 32 + r * 2), part);
    acc = std::fma(part, a.scale[t * pairs + i], acc);
  }
  return acc;
}

float q8_row(const Matrix& w, const Activations& a, const uint8_t* group, int r, int t) {
  const int pairs = pairs_of(w.cols);
  float acc = 0;
  for (int i = 0; i < pairs; i++, group += kQ8Pair) {
    const int8_t* q = a.q + size_t(t * pairs + i) * kPair;
    const float first = float(q8_dot(group + 64, q, r)) * half(group + r * 2);
    const float part = std::fma(float(q8_dot(group + 64 + 512, q + kBlock, r)), half(group + 32 + r * 2), first);
    acc = std::fma(part, a.scale[t * pairs + i], acc);
  }
  return acc;
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
    const uint8_t* group = w.group(g);
    for (int t = token0; t < token1; t++)
      for (int r = 0; r < kRows && g * kRows + r < w.rows; r++)
        out[size_t(t) * out_stride + g * kRows + r] =
            w.format == Format::Q4   ? std::ldexp(q4_row(w, a, group, r, t), w.exponents()[g * kRows + r])
            : w.format == Format::Q8 ? q8_row(w, a, group, r, t)
                                     : plain_row(w, a, group, r, t);
  }
}

bool always() { return true; }

}  // namespace

extern const Isa kGeneric = {"generic", always, product, quantize};

}  // namespace skv
