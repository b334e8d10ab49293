#include "packed.h"

#include <algorithm>
#include <cmath>

#include "weight_types.h"

namespace skv {
namespace {

/* Rounds to nearest even. In whole numbers, for not every compiler has a type for it in C++. */
uint16_t f32_to_f16(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return uint16_t(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));  /* no number */
  if (magnitude >= 0x477ff000) return uint16_t(sign | 0x7c00);                             /* from 65520 on */
  if (magnitude < 0x38800000) return uint16_t(sign | std::lrintf(std::fabs(f) * 0x1p24f)); /* steps of 2^-24 */
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return uint16_t(sign | (rounded - (112u << 23)) >> 13);
}

/* A block as every format packs it: d as f16 and m as whole numbers. */
struct PackedBlock {
  uint16_t d[2];
  int16_t m[2];
  uint8_t w[kBlock];
};

/* 2^e of a row: what takes the largest of its scales and minima to 15 bits. */
int exponent_of(const WeightType& type, const uint8_t* row, int blocks) {
  float top = 0;
  FileBlock block;
  for (int b = 0; b < blocks; b++) {
    type.read(row, b, &block);
    for (int h = 0; h < 2; h++) top = std::max({top, std::fabs(block.d[h]), std::fabs(block.m[h])});
  }
  int e = 0;
  if (top > 0 && std::isfinite(top)) {
    std::frexp(top, &e);
    e -= 15;
  }
  return e;
}

/* What is not a number stays none. */
PackedBlock packed_block(const FileBlock& from, float units) {
  PackedBlock out;
  for (int h = 0; h < 2; h++) {
    const float m = from.m[h] * units, d = from.d[h] * units;
    const bool number = std::isfinite(m);
    out.m[h] = number ? int16_t(std::min(std::lrintf(m), 32767L)) : int16_t(0);
    out.d[h] = f32_to_f16(number ? d : NAN);
  }
  memcpy(out.w, from.w, kBlock);
  return out;
}

/* Nibbles of a block, row r. */
void put_nibbles(uint8_t (&to)[4][kRows][4], int r, const uint8_t* w) {
  for (int j = 0; j < 4; j++)
    for (int i = 0; i < 4; i++) to[j][r][i] = uint8_t((w[4 * j + i] & 15) | (w[16 + 4 * j + i] & 15) << 4);
}

/* Two bits of each weight, from bit `from` on. */
void put_twos(uint8_t (&to)[2][kRows][4], int r, const uint8_t* w, int from) {
  for (int j = 0; j < 2; j++)
    for (int i = 0; i < 4; i++) {
      int byte = 0;
      for (int k = 0; k < 4; k++) byte |= ((w[16 * j + 4 * k + i] >> from) & 3) << (2 * k);
      to[j][r][i] = uint8_t(byte);
    }
}

/* Block b of a pair, row r. */
void put(Q4Pair& pair, int b, int r, const PackedBlock& block) {
  pair.m[r][b] = block.m[0];
  pair.d[b][r] = block.d[0];
  put_nibbles(pair.w[b], r, block.w);
}
void put(Q5Pair& pair, int b, int r, const PackedBlock& block) {
  pair.m[r][b] = block.m[0];
  pair.d[b][r] = block.d[0];
  put_nibbles(pair.w[b], r, block.w);
  for (int i = 0; i < 4; i++) {
    int byte = 0;
    for (int j = 0; j < 8; j++) byte |= (block.w[4 * j + i] >> 4) << j;
    pair.high[b][r][i] = uint8_t(byte);
  }
}
void put(Q2Pair& pair, int b, int r, const PackedBlock& block) {
  for (int h = 0; h < 2; h++) {
    pair.m[b][r][h] = block.m[h];
    pair.d[b][h][r] = block.d[h];
  }
  put_twos(pair.w[b], r, block.w, 0);
}
void put(Q6Pair& pair, int b, int r, const PackedBlock& block) {
  for (int h = 0; h < 2; h++) pair.d[b][h][r] = block.d[h];
  put_nibbles(pair.w[b], r, block.w);
  put_twos(pair.high[b], r, block.w, 4);
}
void put(Q8Pair& pair, int b, int r, const PackedBlock& block) {
  pair.d[b][r] = block.d[0];
  for (int j = 0; j < 8; j++) memcpy(pair.w[b][j][r], block.w + 4 * j, 4);
}

/* A row of blocks as pairs of its format. */
template <class Pair>
void pack_row(Pair* pairs, int r, const WeightType& type, const uint8_t* row, int blocks, float units) {
  FileBlock block;
  for (int b = 0; b < blocks; b++) {
    type.read(row, b, &block);
    put(pairs[b / 2], b % 2, r, packed_block(block, units));
  }
}

/* A row of numbers of `bytes` each. */
void pack_plain(uint8_t* group, int r, const uint8_t* source, int cols, int bytes) {
  for (size_t c = 0; c < size_t(cols); c++) memcpy(group + (c * kRows + r) * bytes, source + c * bytes, bytes);
}

/* A row of pairs as f32: half a block has one scale and one minimum. */
template <class Pair>
void unpack_pairs(const Pair* pairs, int r, int cols, float unit, float* out) {
  constexpr int kHalf = kBlock / 2;
  for (int c = 0; c < cols; c += kHalf) {
    const Pair& pair = pairs[c / kPair];
    const int b = c % kPair / kBlock, i0 = c % kBlock;
    const float d = f16_to_f32(scales_of(pair, b, i0)[r]), m = float(minimum_of(pair, b, r, i0));
    for (int i = 0; i < kHalf; i++) out[c + i] = (d * float(weight_of(pair, b, r, i0 + i)) + m) * unit;
  }
}

}  // namespace

float f16_to_f32(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
  uint32_t bits;
  if (exponent == 31)
    bits = sign | 0x7f800000 | (mantissa << 13);
  else if (exponent)
    bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
  else {
    const float tiny = float(mantissa) * 0x1p-24f;
    return sign ? -tiny : tiny;
  }
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

bool describe(int32_t type, int rows, int cols, Matrix* out) {
  if (source_bytes(type, rows, cols) == 0) return false;
  out->format = find_weight_type(type)->format;
  out->rows = rows;
  out->cols = cols;
  size_t bytes = size_t(cols) * kRows * plain_bytes(out->format);
  with_pairs(out->format, out->data, [&](const auto* pairs) { bytes = pairs_of(cols) * sizeof(*pairs); });
  out->group_bytes = (bytes + 63) / 64 * 64;
  return true;
}

size_t source_bytes(int32_t type, int64_t rows, int64_t cols) {
  const WeightType* found = find_weight_type(type);
  if (!found || rows <= 0 || cols <= 0 || cols % found->elements) return 0;
  return size_t(rows * (cols / found->elements) * found->bytes);
}

void pack(const Matrix& to, int32_t type, const void* source, int group0, int group1) {
  const WeightType& from = *find_weight_type(type);
  const size_t row_bytes = source_bytes(type, 1, to.cols);
  for (int g = group0; g < group1; g++) {
    uint8_t* group = to.group(g);
    memset(group, 0, to.group_bytes);
    if (has_minima(to.format)) memset(to.exponents() + g * kRows, 0, kRows);
    for (int r = 0; r < kRows && g * kRows + r < to.rows; r++) {
      const uint8_t* row = static_cast<const uint8_t*>(source) + row_bytes * (g * kRows + r);
      const int blocks = to.cols / kBlock;
      float units = 1;
      if (has_minima(to.format)) {
        const int e = exponent_of(from, row, blocks);
        to.exponents()[g * kRows + r] = int8_t(e);
        units = std::ldexp(1.0f, -e);
      }
      if (!with_pairs(to.format, group, [&](auto* pairs) { pack_row(pairs, r, from, row, blocks, units); }))
        pack_plain(group, r, row, to.cols, plain_bytes(to.format));
    }
  }
}

void unpack_row(const Matrix& from, int row, float* out) {
  const uint8_t* group = from.group(row / kRows);
  const int r = row % kRows;
  const float unit = has_minima(from.format) ? std::ldexp(1.0f, from.exponents()[row]) : 1.0f;
  if (with_pairs(from.format, group, [&](const auto* pairs) { unpack_pairs(pairs, r, from.cols, unit, out); })) return;
  for (int c = 0; c < from.cols; c++) out[c] = plain_at(from.format, group, size_t(c) * kRows + r);
}

bool unpack_plain(int32_t type, const void* source, int n, float* out) {
  const WeightType* found = find_weight_type(type);
  if (!found || quantised(found->format)) return false;
  for (int i = 0; i < n; i++) out[i] = plain_at(found->format, static_cast<const uint8_t*>(source), i);
  return true;
}

}  // namespace skv
