/* Dense products in plain loops, for any processor: the reference whose bits the other paths must have. A tile is one
 * row group × up to 32 tokens, whose sums stay in the first-level cache.
 *
 *   in    w: packed rows (packed.h); a: activations of tokens [token0, token1), f32 and int8 (matmul.h)
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by arithmetic: weights are unpacked to 16 bits once a tile, for loops that compilers vectorise */
#include <cmath>

#include "matmul.h"

namespace skv {
namespace {

constexpr int kTile = 32; /* tokens */

struct Sums { /* of a tile */
  float of[kTile][kRows] = {};
};

/* A pair of a group's weights, plainly. */
template <int kSpans>
struct Unpacked {
  int16_t w[kRows][kPair];
  int32_t m[kRows][4]; /* of each half of a block */
  float d[kRows][kSpans];
};

template <class Pair>
void unpack(const Pair& pair, Unpacked<kPair / Pair::kSpan>* out) {
  for (int r = 0; r < kRows; r++) {
    for (int i = 0; i < kPair; i++) out->w[r][i] = int16_t(weight_of(pair, i / kBlock, r, i % kBlock));
    for (int h = 0; h < 4; h++) out->m[r][h] = minimum_of(pair, h / 2, r, 16 * (h % 2));
    for (int s = 0; s < kPair / Pair::kSpan; s++) {
      const int i = s * Pair::kSpan;
      out->d[r][s] = f16_to_f32(scales_of(pair, i / kBlock, i % kBlock)[r]);
    }
  }
}

/* sums [row] += products of a pair with a token's, x [at]. */
template <int kSpans>
void add_pair(const Unpacked<kSpans>& pair, const Int8Pairs& x, size_t at, float* sums) {
  int16_t q[kPair];
  for (int i = 0; i < kPair; i++) q[i] = x.q[at * kPair + i];
  for (int r = 0; r < kRows; r++) {
    int32_t least = 0; /* what minima add */
    for (int h = 0; h < 4; h++) least += pair.m[r][h] * x.half_sum[at * 4 + h];
    float part = float(least);
    for (int s = 0; s < kSpans; s++) {
      int32_t dot = 0;
      for (int i = s * (kPair / kSpans); i < (s + 1) * (kPair / kSpans); i++) dot += int32_t(pair.w[r][i]) * q[i];
      part = std::fma(float(dot), pair.d[r][s], part);
    }
    sums[r] = std::fma(part, x.scale[at], sums[r]);
  }
}

/* One pair after the other, then those with a fine term again. */
template <class Pair>
void quantised_tile(const Matrix& w, const Activations& a, const Pair* group, int t0, int tokens, Sums* sums) {
  const int pairs = pairs_of(w.cols);
  Unpacked<kPair / Pair::kSpan> pair;
  for (int k = 0; k < pairs; k++) {
    unpack(group[k], &pair);
    for (int t = 0; t < tokens; t++) add_pair(pair, a.coarse, size_t(t0 + t) * pairs + k, sums->of[t]);
  }
  each_fine_pair(a, t0, tokens, [&](int k) {
    unpack(group[k], &pair);
    for (int t = 0; t < tokens; t++) add_pair(pair, a.fine, size_t(t0 + t) * pairs + k, sums->of[t]);
  });
}

void plain_tile(const Matrix& w, const Activations& a, const uint8_t* group, int t0, int tokens, Sums* sums) {
  for (int c = 0; c < w.cols; c++) {
    float weights[kRows];
    for (int r = 0; r < kRows; r++) weights[r] = plain_at(w.format, group, size_t(c) * kRows + r);
    for (int t = 0; t < tokens; t++) {
      const float x = a.x[size_t(t0 + t) * a.stride + c];
      for (int r = 0; r < kRows; r++) sums->of[t][r] = std::fma(x, weights[r], sums->of[t][r]);
    }
  }
}

void product(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
             int out_stride) {
  for (int t0 = token0; t0 < token1; t0 += kTile) {
    const int tokens = token1 - t0 < kTile ? token1 - t0 : kTile;
    for (int g = group0; g < group1; g++) {
      const int row = g * kRows, rows = w.rows - row < kRows ? w.rows - row : kRows;
      Sums sums;
      if (!with_pairs(w.format, w.group(g), [&](const auto* pairs) { quantised_tile(w, a, pairs, t0, tokens, &sums); }))
        plain_tile(w, a, w.group(g), t0, tokens, &sums);
      for (int t = 0; t < tokens; t++)
        for (int r = 0; r < rows; r++) {
          const float sum = sums.of[t][r];
          out[size_t(t0 + t) * out_stride + row + r] =
              has_minima(w.format) ? std::ldexp(sum, w.exponents()[row + r]) : sum;
        }
    }
  }
}

bool always() { return true; }

}  // namespace

extern const Isa kGeneric = {"generic", always, product, quantise_generic};

}  // namespace skv
