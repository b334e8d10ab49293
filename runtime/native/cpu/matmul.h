/* Dense products: out[token][row] = sum over cols of x[token][col] * W[row][col], with W packed as packed.h says.
 *
 * The bits of an output depend on its row of W and its token's activations alone: not on how many tokens run together,
 * which thread runs them, or (but for prompts by bf16, below) which instruction set. Integer dot products are exact,
 * and every path adds them in f32 with the same fused multiply-adds in the same order. Of quantised weights, pair by
 * pair:
 *
 *   part = float(m * sum_x, all spans)        a span: inputs that share a scale of weights, a block or half of one
 *                                             sum_x: its int8 activations, added up
 *   part = fma(float(dot), d, part)           dot: int8 dot product of a span; one span after the other
 *   acc  = fma(part, d_x, acc)                d_x: scale of the pair's activations
 *   acc  = fma(part, d_x, acc)                again for pairs that have a fine term, of it, after all the others
 *   out  = acc * 2^e                          e: of the row
 *
 * Q6 and Q8 have no m and no e. Of F16, BF16 and F32: acc = fma(x, w, acc), column by column.
 *
 * A path may multiply tokens of prompts otherwise, by bf16 (Isa::of_prompts), with the bits of AMX's tdpbf16ps: x and
 * w, which is m + d * w as f32, are rounded to bf16, halves away from zero, and block by block of 32 inputs
 *
 *   acc = acc + (even + odd)                  even = fma(x, w, even) of inputs 0, 2, … 30 from 0; odd of 1, 3, … 31
 *   out = acc * 2^e
 *
 * also of F16 and BF16; F32 and inputs that are not whole blocks as above. */
#ifndef SKV_MATMUL_H
#define SKV_MATMUL_H
#include "packed.h"

namespace skv {

/* Inputs in int8, a scale for a pair. Owns nothing. */
struct Int8Pairs {
  int8_t* q = nullptr;            /* [token][pairs_of(cols)][kPair] */
  float* scale = nullptr;         /* [token][pair] */
  int16_t* sum = nullptr;         /* [token][pair][2] sum of a block's q */
  int16_t* half_sum = nullptr;    /* [token][pair][2][2] of half a block's */
  int32_t* offset = nullptr;      /* [token][pair][2] -128 * sum: what the zero of Q8's bytes adds */
  int32_t* half_offset = nullptr; /* [token][pair][2][2] -32 * half_sum: of Q6's */
};

/* Inputs of a product: f32 as given, and int8 beside them for quantised weights. Owns nothing.
 *
 * One large input leaves few of int8's steps to the others of its pair. So where `keeps_fine`, pairs whose largest |x|
 * is over kOutlier times the root mean square of the token have a second term, what the first left: 15 bits in all. Of
 * other pairs the fine scale is 0, and the rest of the term is anything. */
struct Activations {
  int cols = 0;
  const float* x = nullptr; /* [token][stride] */
  int stride = 0;
  Int8Pairs coarse, fine;
  bool keeps_fine = false;
  uint64_t* has_fine = nullptr; /* [token][words_of(pairs)] a bit for each pair, where keeps_fine */
  bool by_tiles = false;    /* of a prompt by bf16: in `tiles` alone, and in x where weights are multiplied in f32 */
  uint8_t* tiles = nullptr; /* bf16 [16 tokens][block][16][32] */
};
constexpr float kOutlier = 9;
static inline int words_of(int pairs) { return (pairs + 63) / 64; }

/* fn(pair) for the pairs that one of tokens [t0, t0 + tokens) has a fine term of, in their order. */
template <class Fn>
static inline void each_fine_pair(const Activations& a, int t0, int tokens, Fn&& fn) {
  const int words = a.keeps_fine ? words_of(pairs_of(a.cols)) : 0;
  for (int word = 0; word < words; word++) {
    uint64_t has = 0;
    for (int t = 0; t < tokens; t++) has |= a.has_fine[size_t(t0 + t) * words + word];
    for (; has; has &= has - 1) fn(64 * word + __builtin_ctzll(has));
  }
}

/* Quantises a token, x [cols]: symmetric, scale = max|x| / 127 of a pair, round to nearest even. cols must be whole
 * blocks. */
using Quantise = void (*)(const Activations& to, int token, const float* x);
void quantise_generic(const Activations& to, int token, const float* x); /* in plain loops */
/* What the largest |x| of a pair without a fine term is at most. */
float outlier_bound(const float* x, int cols);
/* Tokens [0, tokens), from a.x. */
void quantise_all(Quantise quantise, const Activations& a, int tokens);

/* fn(group, t0, t1) for row groups [group0, group1), panel by panel of tokens [t0, t1): their activations stay in the
 * first-level cache while the groups pass over them, and weights are read from memory once a panel. */
template <class Fn>
static inline void each_panel(int token0, int token1, int group0, int group1, Fn&& fn) {
  constexpr int kPanel = 32; /* tokens */
  for (int t0 = token0; t0 < token1; t0 += kPanel)
    for (int g = group0; g < group1; g++) fn(g, t0, t0 + kPanel < token1 ? t0 + kPanel : token1);
}

/* Row groups [group0, group1) of a product for tokens [token0, token1): out[token * out_stride + row]. By tiles token0
 * is a multiple of 16. */
using Product = void (*)(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1,
                         float* out, int out_stride);

/* Row groups of a piece when a product of so many groups and bytes is dealt out to workers: small enough to balance (at
 * most a quarter of a MiB when there are many) and large enough to stream; by tiles a whole number of pairs. */
int piece_groups(int groups, size_t bytes, int workers, bool by_tiles);

/* Most tokens that products of prompts are asked for at once. */
constexpr int kPromptTokens = 256;

/* Whether products of prompts multiply it by bf16, where they are not multiplied as all tokens. */
static inline bool by_bf16(const Matrix& w) { return w.cols % kBlock == 0 && w.format != Format::F32; }

/* gate[i] = f(gate[i]) * up[i], as elementwise.h has them. */
using Activate = void (*)(float* gate, const float* up, int n);
/* Inputs of the product after a gated MLP's first two, whose matrices are multiplied by bf16: blocks [block0, block1)
 * of tokens [token0, token1), at most kPromptTokens, to to.tiles. The bits are those of both products, `activate` and
 * quantise. */
using Gated = void (*)(const Linear& gate, const Linear& up, const Activations& a, int token0, int token1, int block0,
                       int block1, Activate activate, const Activations& to);

/* A product, what prepares a token's activations for it, and both around a gated MLP's activation, of prompts. */
struct Products {
  Product product = nullptr;
  Quantise quantise = nullptr;
  Gated gated = nullptr;
};
/* An instruction-set path. */
struct Isa {
  const char* name;
  bool (*supported)();
  Products products;        /* quantise has the bits of quantise_generic() */
  Products of_prompts = {}; /* of tokens of prompts, where they are multiplied otherwise */
};
/* Paths this binary was built with, best first; the last, "generic", always runs. */
extern const Isa* const kIsas[];
extern const int kIsaCount;
/* The named path, or with null the one SKV_ISA names, or the best this machine supports. Null: not built or not
 * supported. */
const Isa* find_isa(const char* name);
#if defined(__x86_64__)
/* Why AMX's path is not supported although the processor has AMX; null: it is, or the processor has not. */
const char* amx_refused();
#endif

}  // namespace skv
#endif
