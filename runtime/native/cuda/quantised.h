/* Quantised weights on the device, in the bytes of their file: products for a few tokens, and rows as plain numbers,
 * for more tokens and for the embedding. */
#ifndef SKV_CUDA_QUANTISED_H
#define SKV_CUDA_QUANTISED_H
#include <cstddef>
#include <cstdint>

namespace skv {

/* Most tokens of a product. */
constexpr int kFewTokens = 8;

/* out[token][row] = Σ_col x[token][col] · w[row][col], sums in f32; out [token][stride]. */
struct QuantisedProduct {
  const uint32_t* w; /* [row][row_words] */
  const uint32_t* x; /* [token][cols] of f32 or bf16 */
  float* out;
  int rows, cols, row_words, tokens, stride;
  bool wide; /* x is f32 */
};

/* out[i][col] = w[source[i]][col], or w[row0 + i][col] where there is no source. */
struct Dequantise {
  const uint32_t* w; /* [row][row_words] */
  const int32_t* source;
  uint32_t* out; /* of f32 or bf16 */
  int row0, n, cols, row_words;
  bool wide; /* out is f32 */
};

/* How the device multiplies with a type. Both are queued, and return a code of abi.h. */
struct QuantisedType {
  int32_t type; /* SKV_W_… */
  int32_t (*multiply)(const QuantisedProduct& product, void* stream);
  int32_t (*dequantise)(const Dequantise& rows, void* stream);
};

/* Null for a type of plain numbers. */
const QuantisedType* find_quantised(int32_t type);

/* Words of a row of so many bytes. */
inline int row_words(size_t bytes) { return int((bytes + 15) / 16 * 4); }

}  // namespace skv
#endif
