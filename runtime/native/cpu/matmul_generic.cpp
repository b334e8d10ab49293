/* The reference path: plain loops, any processor. The other paths must produce its bits. */
#include <cmath>
#include <cstring>

#include "matmul.h"

namespace skv {
namespace {

/* What a pair adds before its products, minima times sums of activations; and a block's dot product. */
float least(const Q4Pair& pair, int r, const int16_t* sum) {
  return float(pair.m[r][0] * sum[0] + pair.m[r][1] * sum[1]);
}
float least(const Q8Pair&, int, const int16_t*) { return 0; }

int32_t dot(const Q4Pair& pair, int b, int r, const int8_t* q) {
  int32_t sum = 0;
  for (int i = 0; i < 16; i++) {
    const uint8_t both = pair.w[b][i / 4][r][i % 4];
    sum += (both & 15) * q[i] + (both >> 4) * q[16 + i];
  }
  return sum;
}
int32_t dot(const Q8Pair& pair, int b, int r, const int8_t* q) {
  int32_t sum = 0;
  for (int i = 0; i < kBlock; i++) sum += (pair.w[b][i / 4][r][i % 4] - 128) * q[i];
  return sum;
}

template <class Pair>
float quantised_row(const Matrix& w, const Activations& a, const uint8_t* group, int r, int t) {
  const int pairs = pairs_of(w.cols);
  float acc = 0;
  for (int i = 0; i < pairs; i++) {
    const Pair& pair = reinterpret_cast<const Pair*>(group)[i];
    const size_t at = size_t(t) * pairs + i;
    float part = least(pair, r, a.sum + at * 2);
    for (int b = 0; b < 2; b++)
      part = std::fma(float(dot(pair, b, r, a.q + at * kPair + b * kBlock)), f16_to_f32(pair.d[b][r]), part);
    acc = std::fma(part, a.scale[at], acc);
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
      weight = half_at(group + at * 2);
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
            w.format == Format::Q4 ? std::ldexp(quantised_row<Q4Pair>(w, a, group, r, t), w.exponents()[g * kRows + r])
            : w.format == Format::Q8 ? quantised_row<Q8Pair>(w, a, group, r, t)
                                     : plain_row(w, a, group, r, t);
  }
}

bool always() { return true; }

}  // namespace

extern const Isa kGeneric = {"generic", always, product, quantize};

}  // namespace skv
