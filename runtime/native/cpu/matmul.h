/* Dense products: out[token][row] = sum over cols of x[token][col] * W[row][col], with W quantised as its file had it.
 *
 * The bits of an output depend on its row of W and its token's activations alone: not on how many tokens run together,
 * which thread runs them, or which instruction set. Integer dot products are exact, and every path adds them in f32
 * with the same fused multiply-adds in the same order. Of each pair of blocks, whose activations share a scale:
 *
 *   part = float(m_w * sum_x of both);  of each block part = fma(float(isum), d_w, part);  acc = fma(part, d_x, acc)
 *   out = acc * 2^e, e of the row (Q8: no m, no e)
 *
 * Layout: rows are packed in groups of 16, so that lane r of a 512-bit register is output row r. Of each group:
 *   Q4   [pair] of Q4Pair. m and d are in units of the row's 2^e, at which the largest takes 15 bits: d keeps its
 * value, and so does an m of more than a 16th of the largest; smaller ones are rounded to 2^-15 of it. e [row] int8
 *        follow all groups.
 *   Q8   [pair] of Q8Pair
 *   F16, BF16, F32  [col][16 rows]
 */
#ifndef SKV_MATMUL_H
#define SKV_MATMUL_H
#include <cstddef>
#include <cstdint>

namespace skv {

constexpr int kBlock = 32;        /* inputs whose weights share a scale */
constexpr int kPair = 2 * kBlock; /* inputs whose activations share a scale; of the last, half may be missing: zeros */
constexpr int kRows = 16;         /* rows of a group */

/* A pair of blocks of a group's rows. */
struct Q4Pair {
  int16_t m[kRows][2];
  uint16_t d[2][kRows];      /* f16 */
  uint8_t w[2][4][kRows][4]; /* byte b of vector j holds inputs 4j + b (low nibble) and 16 + 4j + b (high) */
};
struct Q8Pair {
  uint16_t d[2][kRows];
  uint8_t w[2][8][kRows][4]; /* w + 128 of input 4j + b */
};

inline int pairs_of(int cols) { return (cols + kPair - 1) / kPair; }

enum class Format : int32_t { F32, F16, BF16, Q4, Q8 };

/* Packed weights. Owns nothing: `data` is the caller's, 64-byte aligned, bytes() long. */
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

/* Describes the packed form of a GGUF weight type (SKV_W_…); false when the type or cols cannot be packed. */
bool describe(int32_t type, int rows, int cols, Matrix* out);
/* Bytes of `rows` x `cols` in the file's own form, or 0 for an unknown type or a cols that does not divide into blocks.
 */
size_t source_bytes(int32_t type, int64_t rows, int64_t cols);
/* Packs row groups [group0, group1) from the file's row-major form. Groups are independent: callers split over threads.
 */
void pack(const Matrix& to, int32_t type, const void* source, int group0, int group1);
/* One row as f32 [cols]: the embedding lookup, from the packed form. */
void unpack_row(const Matrix& from, int row, float* out);

/* Activations of up to max_tokens tokens: f32 as given, and int8 beside them. */
struct Activations {
  int cols = 0;
  const float* x = nullptr; /* [token][stride] f32 */
  int stride = 0;
  int8_t* q = nullptr;       /* [token][pairs_of(cols)][kPair] */
  float* scale = nullptr;    /* [token][pair] */
  int16_t* sum = nullptr;    /* [token][pair][2] sum of a block's q */
  int32_t* offset = nullptr; /* [token][pair][2] -128 * sum: what the bias of Q8 adds */
};

/* Quantises a token, x [cols]: symmetric, scale = max|x| / 127 of a pair, round to nearest even. cols must be whole
 * blocks. */
using Quantize = void (*)(const Activations& to, int token, const float* x);
void quantize(const Activations& to, int token, const float* x); /* in plain loops */
/* Tokens [0, tokens), from a.x. */
void quantize_all(Quantize quantize, const Activations& a, int tokens);

/* One row-group range of a product for tokens [token0, token1): out[token * out_stride + row]. */
using Product = void (*)(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1,
                         float* out, int out_stride);

/* Row groups of a piece when a product of so many groups and bytes is dealt out to workers: small enough to balance (at
 * most a quarter of a MiB when there are many) and large enough to stream. */
int piece_groups(int groups, size_t bytes, int workers);

/* An instruction-set path. */
struct Isa {
  const char* name;
  bool (*supported)();
  Product product;
  Quantize quantize; /* the same bits as quantize() */
};
/* Paths this binary was built with, best first; the last, "generic", always runs. */
extern const Isa* const kIsas[];
extern const int kIsaCount;
/* The named path, or with null the one SKV_ISA names, or the best this machine supports. Null: not built or not
 * supported. */
const Isa* find_isa(const char* name);

float f16_to_f32(uint16_t h);
float half_at(const uint8_t* at);
inline bool quantised(Format f) { return f == Format::Q4 || f == Format::Q8; }

}  // namespace skv
#endif
