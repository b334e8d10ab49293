/* Dense products in plain loops, for any processor, one output at a time: the reference whose bits the other paths must
 * have.
 *
 *   in    w: packed rows (packed.h); a: activations of tokens [token0, token1), f32 and int8 (matmul.h)
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by arithmetic: weights are unpacked again for every token */
#include <cmath>

#include "matmul.h"

namespace skv {
namespace {

/* What a pair of blocks adds before its dot products: minima times sums of activations. */
float min_term(const Q4Pair& pair, int r, const int16_t* sum) {
  return float(pair.m[r][0] * sum[0] + pair.m[r][1] * sum[1]);
}
float min_term(const Q8Pair&, int, const int16_t*) { return 0; }

/* int8 dot product of block b, row r of a group, with a token's q [kBlock]. */
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
    float part = min_term(pair, r, a.sum + at * 2);
    for (int b = 0; b < 2; b++)
      part = std::fma(float(dot(pair, b, r, a.q + at * kPair + b * kBlock)), f16_to_f32(pair.d[b][r]), part);
    acc = std::fma(part, a.scale[at], acc);
  }
  return acc;
}

float plain_row(const Matrix& w, const Activations& a, const uint8_t* group, int r, int t) {
  const float* x = a.x + size_t(t) * a.stride;
  float acc = 0;
  for (int c = 0; c < w.cols; c++) acc = std::fma(x[c], plain_at(w.format, group, size_t(c) * kRows + r), acc);
  return acc;
}

float output(const Matrix& w, const Activations& a, const uint8_t* group, int r, int t, int row) {
  if (w.format == Format::Q4) return std::ldexp(quantised_row<Q4Pair>(w, a, group, r, t), w.exponents()[row]);
  if (w.format == Format::Q8) return quantised_row<Q8Pair>(w, a, group, r, t);
  return plain_row(w, a, group, r, t);
}

void product(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
             int out_stride) {
  for (int g = group0; g < group1; g++)
    for (int t = token0; t < token1; t++)
      for (int r = 0; r < kRows && g * kRows + r < w.rows; r++) {
        const int row = g * kRows + r;
        out[size_t(t) * out_stride + row] = output(w, a, w.group(g), r, t, row);
      }
}

bool always() { return true; }

}  // namespace

extern const Isa kGeneric = {"generic", always, product, quantise_generic};

}  // namespace skv
