#include "packed.h"

#include <algorithm>
#include <cmath>

#include "backend.h"

namespace skv {
namespace {

/* How a file stores a weight type: `bytes` for each `block` of a row's numbers; and what it is packed as. */
struct WeightType {
  int32_t type;
  Format format;
  int block, bytes;
};
constexpr WeightType kWeightTypes[] = {
    {SKV_W_F32, Format::F32, SKV_ELEMENTS_F32, SKV_BYTES_F32},     /* plain */
    {SKV_W_F16, Format::F16, SKV_ELEMENTS_F16, SKV_BYTES_F16},     /* plain */
    {SKV_W_BF16, Format::BF16, SKV_ELEMENTS_BF16, SKV_BYTES_BF16}, /* plain */
    {SKV_W_Q4_0, Format::Q4, SKV_ELEMENTS_Q4_0, SKV_BYTES_Q4_0},   /* d, 16 pairs of nibbles */
    {SKV_W_Q4_1, Format::Q4, SKV_ELEMENTS_Q4_1, SKV_BYTES_Q4_1},   /* d, m, 16 pairs of nibbles */
    {SKV_W_Q8_0, Format::Q8, SKV_ELEMENTS_Q8_0, SKV_BYTES_Q8_0},   /* d, 32 values */
};
static_assert(SKV_ELEMENTS_Q4_0 == kBlock && SKV_ELEMENTS_Q4_1 == kBlock && SKV_ELEMENTS_Q8_0 == kBlock,
              "packed blocks are a file's blocks");

const WeightType* find_type(int32_t type) {
  for (const WeightType& each : kWeightTypes)
    if (each.type == type) return &each;
  return nullptr;
}

#if defined(__aarch64__) && !defined(__clang__)
using Half = __fp16; /* _Float16 in C++ is newer there */
#else
using Half = _Float16;
#endif

uint16_t f32_to_f16(float f) {
  const Half h = static_cast<Half>(f); /* rounds to nearest even */
  uint16_t bits;
  memcpy(&bits, &h, 2);
  return bits;
}

/* A row of Q4_0 or Q4_1. GGUF pairs input i with 16 + i, as the packed form does; Q4_0's m is -8 d. */
void pack_q4(uint8_t* group, int r, const uint8_t* source, int blocks, bool has_min, int8_t* exponent) {
  const int bytes = has_min ? SKV_BYTES_Q4_1 : SKV_BYTES_Q4_0;
  auto scale = [&](int b) { return plain_at(Format::F16, source + b * bytes, 0); };
  auto minimum = [&](int b) { return has_min ? plain_at(Format::F16, source + b * bytes, 1) : -8.0f * scale(b); };
  float top = 0;
  for (int b = 0; b < blocks; b++) top = std::max({top, std::fabs(scale(b)), std::fabs(minimum(b))});
  int e = 0;
  if (top > 0 && std::isfinite(top)) {
    std::frexp(top, &e);
    e -= 15;
  }
  *exponent = int8_t(e);
  const float units = std::ldexp(1.0f, -e);
  for (int b = 0; b < blocks; b++) {
    Q4Pair& pair = reinterpret_cast<Q4Pair*>(group)[b / 2];
    const float m = minimum(b) * units, d = scale(b) * units;
    /* what is not a number stays none */
    pair.m[r][b % 2] = std::isfinite(m) ? int16_t(std::lrintf(m)) : int16_t(0);
    pair.d[b % 2][r] = f32_to_f16(std::isfinite(m) ? d : NAN);
    for (int j = 0; j < 4; j++) memcpy(pair.w[b % 2][j][r], source + (b + 1) * bytes - 16 + j * 4, 4);
  }
}

/* A row of Q8_0. */
void pack_q8(uint8_t* group, int r, const uint8_t* source, int blocks) {
  for (int b = 0; b < blocks; b++, source += SKV_BYTES_Q8_0) {
    Q8Pair& pair = reinterpret_cast<Q8Pair*>(group)[b / 2];
    memcpy(&pair.d[b % 2][r], source, 2);
    for (int i = 0; i < kBlock; i++) pair.w[b % 2][i / 4][r][i % 4] = uint8_t(int8_t(source[2 + i]) + 128);
  }
}

/* A row of numbers of `bytes` each. */
void pack_plain(uint8_t* group, int r, const uint8_t* source, int cols, int bytes) {
  for (size_t c = 0; c < size_t(cols); c++) memcpy(group + (c * kRows + r) * bytes, source + c * bytes, bytes);
}

float q4_at(const Q4Pair& pair, int b, int r, int i, float unit) {
  const uint8_t both = pair.w[b][i % 16 / 4][r][i % 4];
  return (f16_to_f32(pair.d[b][r]) * float(i < 16 ? both & 15 : both >> 4) + float(pair.m[r][b])) * unit;
}

float q8_at(const Q8Pair& pair, int b, int r, int i) {
  return f16_to_f32(pair.d[b][r]) * float(pair.w[b][i / 4][r][i % 4] - 128);
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

size_t Matrix::group_bytes() const {
  const size_t bytes = format == Format::Q4    ? pairs_of(cols) * sizeof(Q4Pair)
                       : format == Format::Q8  ? pairs_of(cols) * sizeof(Q8Pair)
                       : format == Format::F32 ? size_t(cols) * kRows * 4
                                               : size_t(cols) * kRows * 2;
  return (bytes + 63) / 64 * 64; /* every group starts on a cache line */
}

bool describe(int32_t type, int rows, int cols, Matrix* out) {
  if (source_bytes(type, rows, cols) == 0) return false;
  out->format = find_type(type)->format;
  out->rows = rows;
  out->cols = cols;
  return true;
}

size_t source_bytes(int32_t type, int64_t rows, int64_t cols) {
  const WeightType* found = find_type(type);
  if (!found || rows <= 0 || cols <= 0 || cols % found->block) return 0;
  return size_t(rows * (cols / found->block) * found->bytes);
}

void pack(const Matrix& to, int32_t type, const void* source, int group0, int group1) {
  const size_t row_bytes = source_bytes(type, 1, to.cols);
  for (int g = group0; g < group1; g++) {
    uint8_t* group = to.group(g);
    memset(group, 0, to.group_bytes());
    if (to.format == Format::Q4) memset(to.exponents() + g * kRows, 0, kRows);
    for (int r = 0; r < kRows && g * kRows + r < to.rows; r++) {
      const uint8_t* row = static_cast<const uint8_t*>(source) + row_bytes * (g * kRows + r);
      switch (to.format) {
        case Format::Q4:
          pack_q4(group, r, row, to.cols / kBlock, type == SKV_W_Q4_1, to.exponents() + g * kRows + r);
          break;
        case Format::Q8:
          pack_q8(group, r, row, to.cols / kBlock);
          break;
        case Format::F32:
          pack_plain(group, r, row, to.cols, 4);
          break;
        case Format::F16:
        case Format::BF16:
          pack_plain(group, r, row, to.cols, 2);
          break;
      }
    }
  }
}

void unpack_row(const Matrix& from, int row, float* out) {
  const uint8_t* group = from.group(row / kRows);
  const int r = row % kRows;
  const float unit = from.format == Format::Q4 ? std::ldexp(1.0f, from.exponents()[row]) : 1.0f;
  for (int c = 0; c < from.cols; c++) {
    const int block = c / kBlock, i = c % kBlock;
    if (from.format == Format::Q4)
      out[c] = q4_at(reinterpret_cast<const Q4Pair*>(group)[block / 2], block % 2, r, i, unit);
    else if (from.format == Format::Q8)
      out[c] = q8_at(reinterpret_cast<const Q8Pair*>(group)[block / 2], block % 2, r, i);
    else
      out[c] = plain_at(from.format, group, size_t(c) * kRows + r);
  }
}

bool unpack_plain(int32_t type, const void* source, int n, float* out) {
  const WeightType* found = find_type(type);
  if (!found || quantised(found->format)) return false;
  for (int i = 0; i < n; i++) out[i] = plain_at(found->format, static_cast<const uint8_t*>(source), i);
  return true;
}

}  // namespace skv
