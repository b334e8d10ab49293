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
  const size_t blocks = cols / kBlock;
  const size_t bytes = format == Format::Q4    ? blocks * 320
                       : format == Format::Q8  ? blocks * 544
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

/* One block of Q4_0 (18 bytes: d, 16 nibble pairs) or Q4_1 (20: d, m, 16 pairs). GGUF pairs input i with 16 + i. */
static void pack_q4(uint8_t* block, int r, const uint8_t* source, bool has_min) {
  uint16_t d, m;
  memcpy(&d, source, 2);
  if (has_min)
    memcpy(&m, source + 2, 2);
  else
    m = f32_to_f16(-8.0f * f16_to_f32(d));
  const uint8_t* pairs = source + (has_min ? 4 : 2);
  for (int j = 0; j < 4; j++) memcpy(block + j * 64 + r * 4, pairs + j * 4, 4);
  memcpy(block + 256 + r * 2, &d, 2);
  memcpy(block + 288 + r * 2, &m, 2);
}

static void pack_q8(uint8_t* block, uint8_t* scales, int r, const uint8_t* source) {
  for (int j = 0; j < 8; j++)
    for (int b = 0; b < 4; b++) block[j * 64 + r * 4 + b] = uint8_t(int8_t(source[2 + j * 4 + b]) + 128);
  memcpy(scales + r * 2, source, 2);
}

void pack(const Matrix& to, int32_t type, const void* source, int group0, int group1) {
  const size_t row_bytes = source_bytes(type, 1, to.cols);
  const int blocks = to.cols / kBlock;
  for (int g = group0; g < group1; g++) {
    uint8_t* group = to.data + to.group_bytes() * g;
    memset(group, 0, to.group_bytes()); /* rows past the end contribute zeros */
    for (int r = 0; r < kRows && g * kRows + r < to.rows; r++) {
      const uint8_t* row = static_cast<const uint8_t*>(source) + row_bytes * (g * kRows + r);
      switch (to.format) {
        case Format::Q4:
          for (int b = 0; b < blocks; b++)
            pack_q4(group + 320 * b, r, row + (type == SKV_W_Q4_1 ? 20 : 18) * b, type == SKV_W_Q4_1);
          break;
        case Format::Q8:
          for (int b = 0; b < blocks; b++) pack_q8(group + 512 * b, group + 512 * blocks + 32 * b, r, row + 34 * b);
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
  const uint8_t* group = from.data + from.group_bytes() * (row / kRows);
  const int r = row % kRows;
  auto half = [](const uint8_t* at) {
    uint16_t h;
    memcpy(&h, at, 2);
    return h;
  };
  for (int c = 0; c < from.cols; c++) {
    const int i = c % kBlock;
    switch (from.format) {
      case Format::Q4: {
        const uint8_t* block = group + 320 * (c / kBlock);
        const uint8_t pair = block[(i % 16) / 4 * 64 + r * 4 + i % 4];
        const int nibble = i < 16 ? pair & 15 : pair >> 4;
        out[c] = f16_to_f32(half(block + 256 + r * 2)) * float(nibble) + f16_to_f32(half(block + 288 + r * 2));
        break;
      }
      case Format::Q8: {
        const uint8_t* block = group + 512 * (c / kBlock);
        const uint8_t* scales = group + 512 * (from.cols / kBlock) + 32 * (c / kBlock);
        out[c] = f16_to_f32(half(scales + r * 2)) * float(int(block[i / 4 * 64 + r * 4 + i % 4]) - 128);
        break;
      }
      case Format::F16:
        out[c] = f16_to_f32(half(group + (size_t(c) * kRows + r) * 2));
        break;
      case Format::BF16:
        out[c] = bf16_to_f32(half(group + (size_t(c) * kRows + r) * 2));
        break;
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
