/* Formats, packing and the choice of an instruction-set path. */
#include "matmul.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "backend.h"

namespace skv {

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

float half_at(const uint8_t* at) {
  uint16_t h;
  memcpy(&h, at, 2);
  return f16_to_f32(h);
}

static float bf16_to_f32(uint16_t h) {
  const uint32_t bits = uint32_t(h) << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

#if defined(__aarch64__) && !defined(__clang__)
using Half = __fp16; /* _Float16 in C++ is newer there */
#else
using Half = _Float16;
#endif

static uint16_t f32_to_f16(float f) {
  const Half h = static_cast<Half>(f); /* rounds to nearest even */
  uint16_t bits;
  memcpy(&bits, &h, 2);
  return bits;
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
  switch (type) {
    case SKV_W_F32:
      out->format = Format::F32;
      break;
    case SKV_W_F16:
      out->format = Format::F16;
      break;
    case SKV_W_BF16:
      out->format = Format::BF16;
      break;
    case SKV_W_Q4_0:
    case SKV_W_Q4_1:
      out->format = Format::Q4;
      break;
    case SKV_W_Q8_0:
      out->format = Format::Q8;
      break;
    default:
      return false;
  }
  out->rows = rows;
  out->cols = cols;
  return true;
}

size_t source_bytes(int32_t type, int64_t rows, int64_t cols) {
  if (rows <= 0 || cols <= 0) return 0;
  const bool blocks = type == SKV_W_Q4_0 || type == SKV_W_Q4_1 || type == SKV_W_Q8_0;
  if (blocks && cols % kBlock) return 0;
  switch (type) {
    case SKV_W_F32:
      return size_t(rows * cols * 4);
    case SKV_W_F16:
    case SKV_W_BF16:
      return size_t(rows * cols * 2);
    case SKV_W_Q4_0:
      return size_t(rows * (cols / kBlock) * 18);
    case SKV_W_Q4_1:
      return size_t(rows * (cols / kBlock) * 20);
    case SKV_W_Q8_0:
      return size_t(rows * (cols / kBlock) * 34);
    default:
      return 0;
  }
}

/* A row of Q4_0 (blocks of 18 bytes: d, 16 nibble pairs) or Q4_1 (20: d, m, 16 pairs). GGUF pairs input i with 16 + i,
 * as the packed form does. */
static void pack_q4(uint8_t* group, int r, const uint8_t* source, int blocks, bool has_min, int8_t* exponent) {
  const int bytes = has_min ? 20 : 18;
  auto scale = [&](int b) { return half_at(source + b * bytes); };
  auto least = [&](int b) { return has_min ? half_at(source + b * bytes + 2) : -8.0f * scale(b); };
  float top = 0;
  for (int b = 0; b < blocks; b++) top = std::max({top, std::fabs(scale(b)), std::fabs(least(b))});
  int e = 0;
  if (top > 0 && std::isfinite(top)) std::frexp(top, &e), e -= 15;
  *exponent = int8_t(e);
  const float units = std::ldexp(1.0f, -e);
  for (int b = 0; b < blocks; b++) {
    Q4Pair& pair = reinterpret_cast<Q4Pair*>(group)[b / 2];
    const float m = least(b) * units, d = scale(b) * units;
    /* what is not a number stays none */
    pair.m[r][b % 2] = std::isfinite(m) ? int16_t(std::lrintf(m)) : int16_t(0);
    pair.d[b % 2][r] = f32_to_f16(std::isfinite(m) ? d : NAN);
    for (int j = 0; j < 4; j++) memcpy(pair.w[b % 2][j][r], source + (b + 1) * bytes - 16 + j * 4, 4);
  }
}

/* A row of Q8_0: blocks of 34 bytes, d and 32 values. */
static void pack_q8(uint8_t* group, int r, const uint8_t* source, int blocks) {
  for (int b = 0; b < blocks; b++, source += 34) {
    Q8Pair& pair = reinterpret_cast<Q8Pair*>(group)[b / 2];
    memcpy(&pair.d[b % 2][r], source, 2);
    for (int i = 0; i < kBlock; i++) pair.w[b % 2][i / 4][r][i % 4] = uint8_t(int8_t(source[2 + i]) + 128);
  }
}

void pack(const Matrix& to, int32_t type, const void* source, int group0, int group1) {
  const size_t row_bytes = source_bytes(type, 1, to.cols);
  for (int g = group0; g < group1; g++) {
    uint8_t* group = to.group(g);
    memset(group, 0, to.group_bytes()); /* rows past the end contribute zeros */
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
          for (int c = 0; c < to.cols; c++) memcpy(group + (size_t(c) * kRows + r) * 4, row + size_t(c) * 4, 4);
          break;
        default:
          for (int c = 0; c < to.cols; c++) memcpy(group + (size_t(c) * kRows + r) * 2, row + size_t(c) * 2, 2);
      }
    }
  }
}

void unpack_row(const Matrix& from, int row, float* out) {
  const uint8_t* group = from.group(row / kRows);
  const int r = row % kRows;
  const float unit = from.format == Format::Q4 ? std::ldexp(1.0f, from.exponents()[row]) : 1.0f;
  for (int c = 0; c < from.cols; c++) {
    const int b = c / kBlock, i = c % kBlock;
    switch (from.format) {
      case Format::Q4: {
        const Q4Pair& pair = reinterpret_cast<const Q4Pair*>(group)[b / 2];
        const uint8_t both = pair.w[b % 2][i % 16 / 4][r][i % 4];
        out[c] =
            (f16_to_f32(pair.d[b % 2][r]) * float(i < 16 ? both & 15 : both >> 4) + float(pair.m[r][b % 2])) * unit;
        break;
      }
      case Format::Q8: {
        const Q8Pair& pair = reinterpret_cast<const Q8Pair*>(group)[b / 2];
        out[c] = f16_to_f32(pair.d[b % 2][r]) * float(pair.w[b % 2][i / 4][r][i % 4] - 128);
        break;
      }
      case Format::F16:
        out[c] = half_at(group + (size_t(c) * kRows + r) * 2);
        break;
      case Format::BF16: {
        uint16_t h;
        memcpy(&h, group + (size_t(c) * kRows + r) * 2, 2);
        out[c] = bf16_to_f32(h);
        break;
      }
      case Format::F32:
        memcpy(out + c, group + (size_t(c) * kRows + r) * 4, 4);
        break;
    }
  }
}

void quantize_all(Quantize quantize, const Activations& a, int tokens) {
  for (int t = 0; t < tokens; t++) quantize(a, t, a.x + size_t(t) * a.stride);
}

int piece_groups(int groups, size_t bytes, int workers) {
  const int pieces = std::min(groups, std::max(workers * 8, int(bytes >> 18)));
  return (groups + pieces - 1) / pieces;
}

const Isa* find_isa(const char* name) {
  if (!name) name = getenv("SKV_ISA");
  for (int i = 0; i < kIsaCount; i++)
    if ((!name || !*name || !strcmp(name, kIsas[i]->name)) && kIsas[i]->supported()) return kIsas[i];
  return nullptr;
}

}  // namespace skv
