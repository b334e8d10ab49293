/* Prompts' dense products with AMX's tiles of bf16: weights are unpacked to bf16 once for all tokens of a panel, so
 * that nothing is left to scale but whole rows. Only matmul_amx.cpp includes it.
 *
 *   in    w: packed rows (packed.h); a.tiles: activations in bf16, as tiles are loaded
 *   room  weights of two row groups and up to kRun blocks, as tiles are loaded: [group][block][16 pairs of inputs][16
 *         rows][2], in the first-level cache while all tokens pass over them
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by tdpbf16ps, one of which multiplies a block of 16 tokens with one of 16 rows; unpacking takes 3 to 4
 *         operations a weight and row group, once a panel
 *
 * A block is 32 inputs, which one tdpbf16ps adds up: matmul.h has the order. Weights in F32, and inputs that are not
 * whole blocks, go as on AVX-512, in f32. */
#ifndef SKV_MATMUL_AMX_BF16_H
#define SKV_MATMUL_AMX_BF16_H
#include <algorithm>

#include "amx.cpu.h"
#include "matmul_512.h"

namespace skv {
namespace {

constexpr int kTile = 16; /* tokens, and rows of weights */
constexpr int kTileBytes = 1024;
constexpr int kRun = 18; /* most blocks that are unpacked at a time: 36 KiB of weights */

/* f32 to bf16 in the upper half, to nearest, ties away from zero; what is not a number stays none. */
inline __m512i rounded(__m512 x) {
  const __m512i up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  return _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
}

/* A tile's row of two inputs, each with its bf16 in the upper half. */
inline __m512i side_by_side(__m512i even, __m512i odd) {
  return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(even, 16), odd);
}

/* Where a token's inputs of block b lie. */
inline uint8_t* tile_row(const Activations& to, int token, int b) {
  return to.tiles + (size_t(token / kTile) * (to.cols / kBlock) + b) * kTileBytes + token % kTile * 64;
}

/* Sixteen of a token's activations to bf16. */
inline void put_half(uint8_t* to, const float* x) {
  const __m512i upper = _mm512_srli_epi32(rounded(_mm512_loadu_ps(x)), 16);
  _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(upper));
}

/* A token's activations to bf16, in their places of tiles. */
void to_tiles(const Activations& to, int token, const float* x) {
  for (int b = 0; b < to.cols / kBlock; b++, x += kBlock)
    for (int half = 0; half < 2; half++) put_half(tile_row(to, token, b) + 32 * half, x + 16 * half);
}

/* [row] of span s of block b: what a weight is beside d * w, for d as given. */
template <class Pair>
inline __m512 beside(const Pair& pair, int b, int, __m512) {
  const __m512i both = _mm512_load_si512(pair.m);
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(b ? both : _mm512_slli_epi32(both, 16), 16));
}
inline __m512 beside(const Q2Pair& pair, int b, int s, __m512) {
  const __m512i both = _mm512_load_si512(pair.m[b]);
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(s ? both : _mm512_slli_epi32(both, 16), 16));
}
inline __m512 beside(const Q6Pair&, int, int, __m512 d) { return _mm512_mul_ps(d, _mm512_set1_ps(-kQ6Zero)); }
inline __m512 beside(const Q8Pair&, int, int, __m512 d) { return _mm512_mul_ps(d, _mm512_set1_ps(-kQ8Zero)); }

/* Four inputs of 16 rows, each as f32: bytes as they are, or their low or `high` nibbles. A permute looks at four bits
 * of its index alone, so they need not be cut out. */
inline void nibbles_of(__m512i bytes, bool high, __m512* x) {
  const __m512 numbers = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int i = 0; i < 4; i++) x[i] = _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 8 * i + 4 * high), numbers);
}
inline void bytes_of(__m512i bytes, __m512* x) {
  const __m512i low = _mm512_set1_epi32(255);
  for (int i = 0; i < 4; i++) x[i] = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(bytes, 8 * i), low));
}

/* The weights of a block: four(j, x) has inputs 4j … 4j + 3. */
template <class Pair>
struct Unpacked {
  __m512i w[8];
  Unpacked(const Pair& pair, int b) { weights_of(pair, b, w); }
  void four(int j, __m512* x) const { bytes_of(w[j], x); }
};
template <>
struct Unpacked<Q4Pair> {
  __m512i w[4];
  Unpacked(const Q4Pair& pair, int b) {
    for (int j = 0; j < 4; j++) w[j] = _mm512_load_si512(pair.w[b][j]);
  }
  void four(int j, __m512* x) const { nibbles_of(w[j % 4], j > 3, x); }
};

/* Block b of a group's pair as a tile of bf16, in units of the row's 2^e: a weight in f32, exact but for its last bit,
 * then rounded. */
template <class Pair>
[[gnu::flatten]] inline void unpack(const Pair& pair, int b, uint8_t* to) {
  constexpr int kParts = kBlock / Pair::kSpan;
  const Unpacked<Pair> block(pair, b);
  __m512 d[kParts], m[kParts];
  for (int s = 0; s < kParts; s++) {
    d[s] = halves(scales_of(pair, b, s * Pair::kSpan));
    d[s] = _mm512_mask_mov_ps(d[s], _mm512_cmp_ps_mask(d[s], d[s], _CMP_UNORD_Q),
                              _mm512_set1_ps(NAN)); /* that rounding leaves one */
    m[s] = beside(pair, b, s, d[s]);
  }
  const __m512i half = _mm512_set1_epi32(0x8000);
#pragma GCC unroll 8
  for (int j = 0; j < 8; j++) {
    __m512 x[4];
    __m512i bits[4];
    block.four(j, x);
    for (int i = 0; i < 4; i++)
      bits[i] =
          _mm512_add_epi32(_mm512_castps_si512(_mm512_fmadd_ps(x[i], d[j * kParts / 8], m[j * kParts / 8])), half);
    for (int i = 0; i < 4; i += 2) _mm512_store_si512(to + 128 * j + 32 * i, side_by_side(bits[i], bits[i + 1]));
  }
}

/* Blocks [b0, b1) of a group as tiles. */
template <class Pair>
inline void unpack_blocks(const Pair* pairs, int b0, int b1, uint8_t* to) {
  for (int b = b0; b < b1; b++, to += kTileBytes) {
    if (b % 2 == 0) prefetch(pairs + b / 2);
    unpack(pairs[b / 2], b % 2, to);
  }
}

/* The same of weights that are bf16 or f16: two columns make a row of a tile. */
inline void bf16_blocks(const uint8_t* group, int b0, int b1, uint8_t* to) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i order = _mm512_load_si512(kOrder);
  const uint8_t* from = group + size_t(b0) * kTileBytes;
  for (const uint8_t* end = group + size_t(b1) * kTileBytes; from < end; from += 64, to += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(from) + kAhead * 256, _MM_HINT_T1);
    _mm512_store_si512(to, _mm512_permutexvar_epi16(order, _mm512_load_si512(from)));
  }
}
inline void f16_blocks(const uint8_t* group, int b0, int b1, uint8_t* to) {
  for (int c = b0 * kBlock; c < b1 * kBlock; c += 2, to += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(group) + c * 32 + kAhead * 256, _MM_HINT_T1);
    const __m512i even = rounded(weights(Format::F16, group, c)), odd = rounded(weights(Format::F16, group, c + 1));
    _mm512_store_si512(to, side_by_side(even, odd));
  }
}

inline void tiles_of(const Matrix& w, int g, int b0, int b1, uint8_t* to) {
  const uint8_t* group = w.group(g);
  if (with_pairs(w.format, group, [&](const auto* pairs) { unpack_blocks(pairs, b0, b1, to); })) return;
  if (w.format == Format::F16) return f16_blocks(group, b0, b1, to);
  bf16_blocks(group, b0, b1, to);
}

/* Inputs come from the second-level cache. */
inline void prefetch_tile(const uint8_t* tile) {
  for (int line = 0; line < kTileBytes; line += 64)
    _mm_prefetch(reinterpret_cast<const char*>(tile) + line, _MM_HINT_T0);
}

/* Sums of M times 16 tokens and N groups, [M][N][16 tokens][16 rows]: what they were, or 0 where `begins`, and the
 * products of `blocks` blocks. x: the first 16 tokens' tiles, those of the next are `next` bytes on. */
template <int M, int N>
inline void add_blocks(float* sums, bool begins, const uint8_t* x, size_t next, const uint8_t* w0, const uint8_t* w1,
                       int blocks) {
  constexpr int kSums = kTile * kRows;
  if (begins) {
    skv_tile_zero<0>();
    if (N == 2) skv_tile_zero<1>();
    if (M == 2) skv_tile_zero<2>();
    if (M == 2 && N == 2) skv_tile_zero<3>();
  } else {
    skv_tile_load<0>(sums, 64);
    if (N == 2) skv_tile_load<1>(sums + kSums, 64);
    if (M == 2) skv_tile_load<2>(sums + 2 * kSums, 64);
    if (M == 2 && N == 2) skv_tile_load<3>(sums + 3 * kSums, 64);
  }
  for (int b = 0; b < blocks; b++, x += kTileBytes, w0 += kTileBytes, w1 += kTileBytes) {
    prefetch_tile(x + 2 * kTileBytes);
    if (M == 2) prefetch_tile(x + 2 * kTileBytes + next);
    skv_tile_load<4>(x, 64);
    skv_tile_load<6>(w0, 64);
    if (N == 2) skv_tile_load<7>(w1, 64);
    if (M == 2) skv_tile_load<5>(x + next, 64);
    skv_tile_dot_bf16<0, 4, 6>();
    if (N == 2) skv_tile_dot_bf16<1, 4, 7>();
    if (M == 2) skv_tile_dot_bf16<2, 5, 6>();
    if (M == 2 && N == 2) skv_tile_dot_bf16<3, 5, 7>();
  }
  skv_tile_store<0>(sums, 64);
  if (N == 2) skv_tile_store<1>(sums + kSums, 64);
  if (M == 2) skv_tile_store<2>(sums + 2 * kSums, 64);
  if (M == 2 && N == 2) skv_tile_store<3>(sums + 3 * kSums, 64);
}

/* Sums of 32 tokens and two groups. */
using Sums = float[2][2][kTile * kRows]; /* [16 tokens][group][token][row] */

constexpr int kPanels = kPromptTokens / (2 * kTile);

struct alignas(64) WeightTiles {
  uint8_t of_group[2][kRun * kTileBytes];
};

inline void configure_for_bf16() {
  skv_tile_shapes shapes;
  for (int tile = 0; tile < 8; tile++) shapes.set(tile, kTile, 64);
  skv_tiles_configure(&shapes);
}

/* Sums of tokens [token0, token1), at most kPromptTokens, and N groups from g on: done(t, sums) as soon as those of the
 * 32 tokens from t on are whole. */
template <int N, class Done>
inline void sums_of(const Matrix& w, const Activations& a, int token0, int token1, int g, WeightTiles& room, Sums* to,
                    Done&& done) {
  const int blocks = w.cols / kBlock, runs = (blocks + kRun - 1) / kRun;
  const size_t tokens_apart = size_t(blocks) * kTileBytes; /* from 16 tokens to the next */
  for (int run = 0; run < runs; run++) {
    const int b0 = blocks * run / runs, b1 = blocks * (run + 1) / runs;
    for (int i = 0; i < N; i++) tiles_of(w, g + i, b0, b1, room.of_group[i]);
    for (int t = token0; t < token1; t += 2 * kTile) {
      Sums& sums = to[(t - token0) / (2 * kTile)];
      const uint8_t* x = a.tiles + t / kTile * tokens_apart + size_t(b0) * kTileBytes;
      const auto add = t + kTile < token1 ? add_blocks<2, N> : add_blocks<1, N>;
      add(sums[0][0], run == 0, x, tokens_apart, room.of_group[0], room.of_group[1], b1 - b0);
      if (run + 1 == runs) done(t, sums);
    }
  }
}

/* Sums of N groups from g on, tokens [t, end), to where they belong. */
template <int N>
inline void put(const Matrix& w, const Sums& sums, int g, int t, int end, float* out, int stride) {
  for (int i = 0; i < N; i++) {
    const int row = (g + i) * kRows;
    const __m512 exponents = exponents_of(w, g + i);
    for (int k = 0; k < 2 * kTile && t + k < end; k++) {
      const __m512 sum = _mm512_load_ps(&sums[k / kTile][i][k % kTile * kRows]);
      store(out + size_t(t + k) * stride + row, row, w.rows, _mm512_scalef_ps(sum, exponents));
    }
  }
}

void product_of_prompts(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1,
                        float* out, int stride) {
  if (!by_bf16(w)) return product(w, a, token0, token1, group0, group1, out, stride);
  WeightTiles room;
  alignas(64) Sums sums[kPanels];
  configure_for_bf16();
  for (int t0 = token0; t0 < token1; t0 += kPromptTokens) {
    const int t1 = std::min(token1, t0 + kPromptTokens);
    int g = group0;
    for (; g + 2 <= group1; g += 2)
      sums_of<2>(w, a, t0, t1, g, room, sums, [&](int t, const Sums& s) { put<2>(w, s, g, t, t1, out, stride); });
    if (g < group1)
      sums_of<1>(w, a, t0, t1, g, room, sums, [&](int t, const Sums& s) { put<1>(w, s, g, t, t1, out, stride); });
  }
  skv_tiles_release();
}

/* Sums of 32 tokens and groups g and g + 1 as outputs, in place. */
inline void finish(const Linear& from, int g, Sums& sums) {
  for (int i = 0; i < 2; i++) {
    const __m512 exponents = exponents_of(from.w, g + i);
    const __m512 bias = from.bias ? _mm512_loadu_ps(from.bias + (g + i) * kRows) : _mm512_setzero_ps();
    for (int k = 0; k < 2 * kTile; k++) {
      float* sum = &sums[k / kTile][i][k % kTile * kRows];
      const __m512 scaled = _mm512_scalef_ps(_mm512_load_ps(sum), exponents);
      _mm512_store_ps(sum, from.bias ? _mm512_add_ps(scaled, bias) : scaled);
    }
  }
}

/* Two groups are a block of the next product: what is gated stays in the first-level cache until it is a tile. */
void gated_by_tiles(const Linear& gate, const Linear& up, const Activations& a, int token0, int token1, int block0,
                    int block1, Activate activate, const Activations& to) {
  WeightTiles room;
  alignas(64) Sums gates[kPanels];
  alignas(64) Sums ups[kPanels];
  configure_for_bf16();
  for (int b = block0; b < block1; b++) {
    sums_of<2>(gate.w, a, token0, token1, 2 * b, room, gates, [](int, const Sums&) {});
    sums_of<2>(up.w, a, token0, token1, 2 * b, room, ups, [&](int t, Sums& sums) {
      Sums& gated = gates[(t - token0) / (2 * kTile)];
      finish(gate, 2 * b, gated);
      finish(up, 2 * b, sums);
      activate(gated[0][0], sums[0][0], (t + kTile < token1 ? 4 : 2) * kTile * kRows);
      for (int k = 0; k < 2 * kTile && t + k < token1; k++) {
        uint8_t* at = tile_row(to, t + k, b);
        for (int i = 0; i < 2; i++) put_half(at + 32 * i, &gated[k / kTile][i][k % kTile * kRows]);
      }
    });
  }
  skv_tiles_release();
}

}  // namespace
}  // namespace skv
#endif
