/* Dense products in plain loops, for any processor: the reference whose bits the other paths must have. A tile is one
 * row group × up to 128 tokens, whose sums stay in the first-level cache.
 *
 *   in    w: packed rows (packed.h); a: activations of tokens [token0, token1), f32 and int8 (matmul.h)
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by arithmetic: weights are unpacked to 16 bits once a tile, for loops that compilers vectorise */
#include <cmath>
#include <cstring>

#include "matmul.h"

namespace skv {
namespace {

constexpr int kTile = 128; /* tokens */

struct Sums { /* of a tile */
  float of[kTile][kRows] = {};
};

/* c [row] = fma(a [row], b [row], c [row]). Without an instruction for it std::fma is a call, so it goes by double,
 * where the product is exact: the sum rounded to double and then to float is the fused one, unless it lies in the
 * middle of two floats or below the normal ones. */
void fuse(const float* a, const float* b, float* c) {
#if !defined(__FMA__) && !defined(__aarch64__)
  double sums[kRows];
  int64_t bits[kRows], doubtful = 0; /* by the sign */
  for (int r = 0; r < kRows; r++) sums[r] = double(a[r]) * double(b[r]) + double(c[r]);
  memcpy(bits, sums, sizeof bits);
  for (int r = 0; r < kRows; r++) {
    const int64_t middle = (bits[r] & 0x1fffffff) ^ 0x10000000, size = bits[r] & INT64_MAX;
    doubtful |= (middle - 1) | ((size - 0x3810000000000000) & -size);
  }
  if (doubtful >= 0) {
    for (int r = 0; r < kRows; r++) c[r] = float(sums[r]);
    return;
  }
#endif
  for (int r = 0; r < kRows; r++) c[r] = std::fma(a[r], b[r], c[r]);
}

/* A pair of a group's weights, plainly. */
template <int kSpans>
struct Unpacked {
  int16_t w[kRows][kPair];
  int32_t m[kRows][4]; /* of each half of a block */
  float d[kSpans][kRows];
};

template <class Pair>
void unpack(const Pair& pair, Unpacked<kPair / Pair::kSpan>* out) {
  for (int r = 0; r < kRows; r++) {
    for (int i = 0; i < kPair; i++) out->w[r][i] = int16_t(weight_of(pair, i / kBlock, r, i % kBlock));
    for (int h = 0; h < 4; h++) out->m[r][h] = minimum_of(pair, h / 2, r, 16 * (h % 2));
    for (int s = 0; s < kPair / Pair::kSpan; s++) {
      const int i = s * Pair::kSpan;
      out->d[s][r] = f16_to_f32(scales_of(pair, i / kBlock, i % kBlock)[r]);
    }
  }
}

/* sums [row] += products of a pair with a token's, x [at]. */
template <int kSpans>
void add_pair(const Unpacked<kSpans>& pair, const Int8Pairs& x, size_t at, float* sums) {
  int16_t q[kPair];
  for (int i = 0; i < kPair; i++) q[i] = x.q[at * kPair + i];
  float parts[kRows], dots[kSpans][kRows], scale[kRows];
  for (int r = 0; r < kRows; r++) {
    int32_t least = 0; /* what minima add */
    for (int h = 0; h < 4; h++) least += pair.m[r][h] * x.half_sum[at * 4 + h];
    parts[r] = float(least);
    scale[r] = x.scale[at];
    for (int s = 0; s < kSpans; s++) {
      int32_t dot = 0;
      for (int i = s * (kPair / kSpans); i < (s + 1) * (kPair / kSpans); i++) dot += int32_t(pair.w[r][i]) * q[i];
      dots[s][r] = float(dot);
    }
  }
  for (int s = 0; s < kSpans; s++) fuse(dots[s], pair.d[s], parts);
  fuse(parts, scale, sums);
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
      float x[kRows];
      for (int r = 0; r < kRows; r++) x[r] = a.x[size_t(t0 + t) * a.stride + c];
      fuse(x, weights, sums->of[t]);
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

extern const Isa kGeneric = {"generic", always, {product, quantise_generic}};

}  // namespace skv
