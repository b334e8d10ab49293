/* Dense products with AMX's tiles of bytes. A tile is one row group × 32 or 16 tokens; fewer tokens, and weights
 * without blocks, go as on AVX-512 (matmul_512.h), with the same bits.
 *
 *   in    w: packed rows, a: activations, as there. A span's packed weights are a tile as they lie: vector j of 16 rows
 *         is its row j
 *   sums  [span][16 tokens] of 16 rows: 32-bit dot products, which AVX-512 takes from the first-level cache and scales
 *   out   [token][out_stride] f32, rows of groups [group0, group1)
 *   bound by arithmetic: tdpbsud multiplies a span of 16 tokens with one of 16 rows; scaling what it leaves takes a
 *         conversion and a multiply-add for each token and span
 *
 * By compilers that do not know the instructions this is a path that is never there. */
#if defined(__x86_64__)
#include "amx.cpu.h"
#if defined(SKV_FOR_TILES)
#include "matmul_amx_bf16.h"

namespace skv {
namespace {

/* Tiles 0 … 3 are sums, 4 and 5 inputs of 16 tokens each, 6 and 7 weights of a span. */
void configure(int span) {
  skv_tile_shapes shapes;
  for (int tile = 0; tile < 8; tile++) {
    const bool inputs = tile == 4 || tile == 5, weights = tile > 5;
    shapes.set(tile, weights ? span / 4 : kTile, inputs ? span : 64);
  }
  skv_tiles_configure(&shapes);
}

/* Weights of a block, [8 vectors][64 bytes]: as they are packed, or unpacked to `room`. */
template <class Pair>
[[gnu::flatten]] inline const uint8_t* bytes_of(const Pair& pair, int b, uint8_t* room) {
  __m512i w[8];
  weights_of(pair, b, w);
  for (int j = 0; j < 8; j++) _mm512_store_si512(room + 64 * j, w[j]);
  return room;
}
inline const uint8_t* bytes_of(const Q8Pair& pair, int b, uint8_t*) { return pair.w[b][0][0]; }

/* Dot products of two spans next to each other, whose weights are w0 and w1 and whose inputs begin at x: sums [span][M
 * times 16 tokens][16 rows]. Inputs of a token are `stride` after the one's before. */
template <int M, int kSpan>
inline void dots_of(const uint8_t* w0, const uint8_t* w1, const int8_t* x, size_t stride,
                    int32_t (*sums)[M * kTile][kRows]) {
  skv_tile_zero<0>();
  skv_tile_zero<1>();
  skv_tile_load<6>(w0, 64);
  skv_tile_load<7>(w1, 64);
  skv_tile_load<4>(x, stride);
  skv_tile_load<5>(x + kSpan, stride);
  skv_tile_dot_bytes<0, 4, 6>();
  skv_tile_dot_bytes<1, 5, 7>();
  if (M == 2) {
    skv_tile_zero<2>();
    skv_tile_zero<3>();
    skv_tile_load<4>(x + kTile * stride, stride);
    skv_tile_load<5>(x + kTile * stride + kSpan, stride);
    skv_tile_dot_bytes<2, 4, 6>();
    skv_tile_dot_bytes<3, 5, 7>();
  }
  skv_tile_store<0>(sums[0], 64);
  skv_tile_store<1>(sums[1], 64);
  if (M == 2) {
    skv_tile_store<2>(sums[0] + kTile, 64);
    skv_tile_store<3>(sums[1] + kTile, 64);
  }
}

/* acc [token] += products of a pair with inputs of M times 16 tokens. `at`: the first's pair; the next one's is `step`
 * on. */
template <int M, class Pair>
inline void add_pair_of_tiles(__m512* acc, const Pair& pair, const Int8Pairs& x, size_t at, size_t step) {
  constexpr int kSpan = Pair::kSpan, kSpans = kPair / kSpan;
  alignas(64) int32_t sums[kSpans][M * kTile][kRows];
  alignas(64) uint8_t room[2][kBlock][kRows];
  const uint8_t* w[kSpans];
  for (int s = 0; s < kSpans; s++) {
    const int b = s * kSpan / kBlock, i = s * kSpan % kBlock;
    w[s] = i ? w[s - 1] + kSpan * kRows : bytes_of(pair, b, room[b][0]);
  }
  for (int s = 0; s < kSpans; s += 2)
    dots_of<M, kSpan>(w[s], w[s + 1], x.q + at * kPair + s * kSpan, step * kPair, sums + s);
  __m512 d[kSpans];
  for (int s = 0; s < kSpans; s++) d[s] = halves(scales_of(pair, s * kSpan / kBlock, s * kSpan % kBlock));
  const Minima<Pair> minima(pair);
  for (int t = 0; t < M * kTile; t++, at += step) {
    __m512 part = minima.term(x, at);
    for (int s = 0; s < kSpans; s++) {
      const int32_t* offset = offsets_of(pair, x, at, s * kSpan / kBlock);
      __m512i dot = _mm512_load_si512(sums[s][t]);
      if (offset) dot = _mm512_add_epi32(dot, _mm512_set1_epi32(offset[s % (kBlock / kSpan)]));
      part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), d[s], part);
    }
    acc[t] = _mm512_fmadd_ps(part, _mm512_set1_ps(x.scale[at]), acc[t]);
  }
}

/* Tokens [t0, t0 + 16 M) of a row group; row: its first. */
template <int M, class Pair>
inline void tiles_of(const Matrix& w, const Activations& a, const Pair* pair, int t0, float* out, int stride, int row) {
  const int pairs = pairs_of(w.cols);
  __m512 acc[M * kTile];
  for (auto& sum : acc) sum = _mm512_setzero_ps();
  for (int i = 0; i < pairs; i++) {
    prefetch(pair + i);
    add_pair_of_tiles<M>(acc, pair[i], a.coarse, size_t(t0) * pairs + i, pairs);
  }
  each_fine_pair(a, t0, M * kTile,
                 [&](int i) { add_pair_of_tiles<M>(acc, pair[i], a.fine, size_t(t0) * pairs + i, pairs); });
  const __m512 exponents = exponents_of(w, row / kRows);
  for (int t = 0; t < M * kTile; t++)
    store(out + size_t(t0 + t) * stride + row, row, w.rows, _mm512_scalef_ps(acc[t], exponents));
}

template <int M>
inline void tiles(const Matrix& w, const Activations& a, int g, int t0, float* out, int stride) {
  with_pairs(w.format, w.group(g), [&](const auto* pairs) { tiles_of<M>(w, a, pairs, t0, out, stride, g * kRows); });
}

int span_of(const Matrix& w) {
  int span = 0;
  with_pairs(w.format, w.data, [&](const auto* pairs) { span = pairs->kSpan; });
  return span;
}

void product_by_tiles(const Matrix& w, const Activations& a, int token0, int token1, int group0, int group1, float* out,
                      int stride) {
  const int span = span_of(w);
  if (!span || token1 - token0 < kTile) return product(w, a, token0, token1, group0, group1, out, stride);
  configure(span);
  each_panel(token0, token1, group0, group1, [&](int g, int t, int t1) {
    for (; t + 2 * kTile <= t1; t += 2 * kTile) tiles<2>(w, a, g, t, out, stride);
    for (; t + kTile <= t1; t += kTile) tiles<1>(w, a, g, t, out, stride);
    while (t < t1) t += next_tile<false>(w, a, g, t, t1, out, stride);
  });
  skv_tiles_release(); /* or the system keeps 8 KiB of tiles for the thread */
}

bool has_amx() { return has_avx512() && skv_has_tiles(SKV_TILES_OF_BYTES) && skv_has_tiles(SKV_TILES_OF_BF16); }

}  // namespace

extern const Isa kAmx = {"amx", has_amx, {product_by_tiles, quantise}, {product_of_prompts, to_tiles, gated_by_tiles}};

const char* amx_refused() { return skv_tiles_refused(SKV_TILES_OF_BYTES, true); }

}  // namespace skv
#else
#include "matmul.h"

namespace skv {

static bool never() { return false; }

extern const Isa kAmx = {"amx", never, {}, {}};

const char* amx_refused() {
#if defined(__linux__)
  return skv_tiles_refused(SKV_TILES_OF_BYTES, false);
#else
  return nullptr;
#endif
}

}  // namespace skv
#endif
#endif
