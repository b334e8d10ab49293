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
template <class Pair>
float min_term(const Pair& pair, int r, const int16_t* half_sum) {
  int32_t sum = 0;
  for (int b = 0; b < 2; b++)
    for (int h = 0; h < 2; h++) sum += minimum_of(pair, b, r, 16 * h) * half_sum[2 * b + h];
  return float(sum);
}

/* int8 dot product of the span of block b that begins at input i, row r of a group, with a token's q [kBlock]. */
template <class Pair>
int32_t dot(const Pair& pair, int b, int r, int i, const int8_t* q) {
  int32_t sum = 0;
  for (int end = i + Pair::kSpan; i < end; i++) sum += weight_of(pair, b, r, i) * q[i];
  return sum;
}

template <class Pair>
float quantised_row(const Matrix& w, const Activations& a, const Pair* group, int r, int t) {
  const int pairs = pairs_of(w.cols);
  float acc = 0;
  for (int k = 0; k < pairs; k++) {
    const Pair& pair = group[k];
    const size_t at = size_t(t) * pairs + k;
    float part = min_term(pair, r, a.half_sum + at * 4);
    for (int b = 0; b < 2; b++)
      for (int i = 0; i < kBlock; i += Pair::kSpan) {
        const int32_t sum = dot(pair, b, r, i, a.q + at * kPair + b * kBlock);
        part = std::fma(float(sum), f16_to_f32(scales_of(pair, b, i)[r]), part);
      }
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
  float value = 0;
  if (!with_pairs(w.format, group, [&](const auto* pairs) { value = quantised_row(w, a, pairs, r, t); }))
    return plain_row(w, a, group, r, t);
  return has_minima(w.format) ? std::ldexp(value, w.exponents()[row]) : value;
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
