/* Packed weights: a matrix as its file quantised it, rearranged once at load for the products of matmul.h.
 *
 * A matrix is [rows = outputs][cols = inputs]. Rows are packed in groups of 16, so that lane r of a 512-bit register is
 * output row r. Columns of quantised weights come in blocks of 32, which share a scale in the file, and two blocks make
 * a pair, whose activations share a scale. One group of a matrix:
 *
 *   Q4   [pair] Q4Pair, weight = m + d * w with w in 0 … 15
 *   Q5   [pair] Q5Pair, the same with w in 0 … 31
 *   Q2   [pair] Q2Pair, the same with w in 0 … 3, m and d of half a block
 *   Q6   [pair] Q6Pair, weight = d * (w - 32), d of half a block
 *   Q8   [pair] Q8Pair, weight = d * (w - 128)
 *   F16, BF16, F32   [col][16 rows]
 *
 * d is f16: of types whose scale is a product of two, it is rounded by at most 2^-12 of itself. Where there are minima,
 * m and d are in units of the row's 2^e, at which the largest of them takes 15 bits: m is rounded to whole units. e is
 * int8 [row], after the last group.
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

/* A pair of blocks of a group's rows. Vector j of a block is its inputs 4j … 4j + 3, of each row. kSpan inputs share a
 * scale (and a minimum); w is at most kMost. */
struct Q4Pair {
  static constexpr int kSpan = kBlock, kMost = 15;
  int16_t m[kRows][2];
  uint16_t d[2][kRows];      /* f16 */
  uint8_t w[2][4][kRows][4]; /* low nibbles: vector j; high ones: vector 4 + j */
};
struct Q5Pair {
  static constexpr int kSpan = kBlock, kMost = 31;
  int16_t m[kRows][2];
  uint16_t d[2][kRows];
  uint8_t w[2][4][kRows][4]; /* as of Q4 */
  uint8_t high[2][kRows][4]; /* bit j: the fifth of vector j */
};
struct Q2Pair {
  static constexpr int kSpan = kBlock / 2, kMost = 3;
  int16_t m[2][kRows][2];    /* [block][row][half] */
  uint16_t d[2][2][kRows];   /* [block][half][row] */
  uint8_t w[2][2][kRows][4]; /* bits 2k and 2k + 1 of the j-th: vector 4j + k */
};
struct Q6Pair {
  static constexpr int kSpan = kBlock / 2, kMost = 63;
  uint16_t d[2][2][kRows];      /* [block][half][row] */
  uint8_t w[2][4][kRows][4];    /* as of Q4 */
  uint8_t high[2][2][kRows][4]; /* bits 2k and 2k + 1 of the j-th: the fifth and sixth of vector 4j + k */
};
struct Q8Pair {
  static constexpr int kSpan = kBlock, kMost = 255;
  uint16_t d[2][kRows];
  uint8_t w[2][8][kRows][4];
};

/* Of w, where a weight is d * (w - zero). */
constexpr int kQ6Zero = 32, kQ8Zero = 128;

/* Weight and minimum of input i of block b, row r: plainly, for what need not be fast. */
inline int nibble_of(const uint8_t (&w)[4][kRows][4], int r, int i) {
  const uint8_t both = w[i % 16 / 4][r][i % 4];
  return i < 16 ? both & 15 : both >> 4;
}
inline int twos_of(const uint8_t (&w)[2][kRows][4], int r, int i) {
  return (w[i / 16][r][i % 4] >> (2 * (i % 16 / 4))) & 3;
}
inline int weight_of(const Q4Pair& p, int b, int r, int i) { return nibble_of(p.w[b], r, i); }
inline int weight_of(const Q5Pair& p, int b, int r, int i) {
  return nibble_of(p.w[b], r, i) | ((p.high[b][r][i % 4] >> (i / 4)) & 1) << 4;
}
inline int weight_of(const Q2Pair& p, int b, int r, int i) { return twos_of(p.w[b], r, i); }
inline int weight_of(const Q6Pair& p, int b, int r, int i) {
  return (nibble_of(p.w[b], r, i) | twos_of(p.high[b], r, i) << 4) - kQ6Zero;
}
inline int weight_of(const Q8Pair& p, int b, int r, int i) { return p.w[b][i / 4][r][i % 4] - kQ8Zero; }

/* Functions that files with flags of their own call are static: each has its own.
 * Scales [row] of the span that has input i. */
template <class Pair>
static inline const uint16_t* scales_of(const Pair& p, int b, int) {
  return p.d[b];
}
static inline const uint16_t* scales_of(const Q2Pair& p, int b, int i) { return p.d[b][i / 16]; }
static inline const uint16_t* scales_of(const Q6Pair& p, int b, int i) { return p.d[b][i / 16]; }

template <class Pair>
int minimum_of(const Pair& p, int b, int r, int) {
  return p.m[r][b];
}
inline int minimum_of(const Q2Pair& p, int b, int r, int i) { return p.m[b][r][i / 16]; }
inline int minimum_of(const Q6Pair&, int, int, int) { return 0; }
inline int minimum_of(const Q8Pair&, int, int, int) { return 0; }

static inline int pairs_of(int cols) { return (cols + kPair - 1) / kPair; }

enum class Format : int32_t { F32, F16, BF16, Q4, Q5, Q2, Q6, Q8 };
static inline bool quantised(Format f) { return f >= Format::Q4; }
static inline bool has_minima(Format f) { return f == Format::Q4 || f == Format::Q5 || f == Format::Q2; }

template <class Pair>
static inline const Pair* pairs_at(const uint8_t* group) {
  return reinterpret_cast<const Pair*>(group);
}
template <class Pair>
static inline Pair* pairs_at(uint8_t* group) {
  return reinterpret_cast<Pair*>(group);
}

/* fn(pairs of a group) with the struct that the format has; false, and no call, for a format without pairs. */
template <class Bytes, class Fn>
static inline bool with_pairs(Format format, Bytes* group, Fn&& fn) {
  switch (format) {
    case Format::Q4:
      fn(pairs_at<Q4Pair>(group));
      return true;
    case Format::Q5:
      fn(pairs_at<Q5Pair>(group));
      return true;
    case Format::Q2:
      fn(pairs_at<Q2Pair>(group));
      return true;
    case Format::Q6:
      fn(pairs_at<Q6Pair>(group));
      return true;
    case Format::Q8:
      fn(pairs_at<Q8Pair>(group));
      return true;
    case Format::F32:
    case Format::F16:
    case Format::BF16:
      return false;
  }
  return false;
}
/* Bytes of a number of a format without pairs. */
static inline int plain_bytes(Format format) { return format == Format::F32 ? 4 : 2; }

/* Owns nothing: `data` is the caller's, 64-byte aligned, bytes() long. */
struct Matrix {
  Format format = Format::F32;
  int rows = 0, cols = 0;
  size_t group_bytes = 0; /* of kRows rows: every group starts on a cache line */
  uint8_t* data = nullptr;

  int groups() const { return (rows + kRows - 1) / kRows; }
  size_t bytes() const { return group_bytes * groups() + (has_minima(format) ? (groups() * kRows + 63) / 64 * 64 : 0); }
  uint8_t* group(int g) const { return data + group_bytes * g; }
  int8_t* exponents() const { return reinterpret_cast<int8_t*>(data + group_bytes * groups()); }
};

/* A matrix and its bias [rows], null where the model has none. No data: the model has no such matrix. */
struct Linear {
  Matrix w;
  const float* bias = nullptr;
};

/* Describes the packed form of a weight type (SKV_W_…), but for its data; false when the type or cols cannot be packed.
 */
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
