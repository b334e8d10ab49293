/* Packed weights: a matrix as its file quantised it, rearranged once at load for the products of matmul.h.
 *
 * A matrix is [rows = outputs][cols = inputs]. Rows are packed in groups of 16, so that lane r of a 512-bit register is
 * output row r. Columns of quantised weights come in blocks of 32, which share a scale in the file, and two blocks make
 * a pair, whose activations share a scale. One group of a matrix:
 *
 *   Q4   [pair] Q4Pair, weight = m + d * w with w in 0 … 15. m and d are in units of the row's 2^e, at which the
 *        largest of them takes 15 bits: d keeps its value, and so does an m of more than a 16th of the largest; smaller
 *        ones are rounded to 2^-15 of it. e is int8 [row], after the last group.
 *   Q8   [pair] Q8Pair, weight = d * (w - 128)
 *   F16, BF16, F32   [col][16 rows]
 *
 * Rows past the last one are zeros, and so is the second block of a last pair that the columns do not fill. */
#ifndef SKV_PACKED_H
#define SKV_PACKED_H
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace skv {

constexpr int kBlock = 32;        /* inputs whose weights share a scale */
constexpr int kPair = 2 * kBlock; /* inputs whose activations share a scale */
constexpr int kRows = 16;         /* rows of a group */

/* A pair of blocks of a group's rows. */
struct Q4Pair {
  int16_t m[kRows][2];
  uint16_t d[2][kRows];      /* f16 */
  uint8_t w[2][4][kRows][4]; /* byte b of vector j holds inputs 4j + b (low nibble) and 16 + 4j + b (high) */
};
struct Q8Pair {
  uint16_t d[2][kRows];      /* f16 */
  uint8_t w[2][8][kRows][4]; /* w + 128 of input 4j + b */
};

inline int pairs_of(int cols) { return (cols + kPair - 1) / kPair; }

enum class Format : int32_t { F32, F16, BF16, Q4, Q8 };
inline bool quantised(Format f) { return f == Format::Q4 || f == Format::Q8; }

/* Owns nothing: `data` is the caller's, 64-byte aligned, bytes() long. */
struct Matrix {
  Format format = Format::F32;
  int rows = 0, cols = 0;
  uint8_t* data = nullptr;

  int groups() const { return (rows + kRows - 1) / kRows; }
  size_t group_bytes() const;
  size_t bytes() const {
    return group_bytes() * groups() + (format == Format::Q4 ? (groups() * kRows + 63) / 64 * 64 : 0);
  }
  uint8_t* group(int g) const { return data + group_bytes() * g; }
  int8_t* exponents() const { return reinterpret_cast<int8_t*>(data + group_bytes() * groups()); }
};

/* Describes the packed form of a weight type (SKV_W_…); false when the type or cols cannot be packed. */
bool describe(int32_t type, int rows, int cols, Matrix* out);
/* Bytes of `rows` x `cols` as the file has them, or 0 for an unknown type or a cols that does not divide into blocks.
 */
size_t source_bytes(int32_t type, int64_t rows, int64_t cols);
/* Packs row groups [group0, group1) from the file's row-major form. Groups are independent: callers split over
 * threads. */
void pack(const Matrix& to, int32_t type, const void* source, int group0, int group1);
/* One row as f32 [cols]: the embedding lookup, from the packed form. */
void unpack_row(const Matrix& from, int row, float* out);
/* Numbers of a weight type without blocks as f32: a norm's gain. False for another type. */
bool unpack_plain(int32_t type, const void* source, int n, float* out);

float f16_to_f32(uint16_t h);
inline float bf16_to_f32(uint16_t h) {
  const uint32_t bits = uint32_t(h) << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}
/* Element i of an array of F32, F16 or BF16 at any address. */
inline float plain_at(Format format, const uint8_t* array, size_t i) {
  if (format == Format::F32) {
    float out;
    memcpy(&out, array + i * 4, 4);
    return out;
  }
  uint16_t half;
  memcpy(&half, array + i * 2, 2);
  return format == Format::F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

}  // namespace skv
#endif
