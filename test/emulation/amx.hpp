// AMX's tiles in plain loops, under the names of the compiler's intrinsics: so that the text that uses them runs on a
// processor without. What the instructions refuse ends the process.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace amx {

struct Shapes {  // as ldtilecfg reads them
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

struct Tiles {
  Shapes shapes = {};
  uint8_t data[8][16][64] = {};
};
inline thread_local Tiles tiles;

inline void demand(bool true_, const char* what) {
  if (true_) return;
  fprintf(stderr, "AMX: %s\n", what);
  abort();
}

// Rows of 32-bit words of a tile.
inline int rows(int tile) {
  demand(tiles.shapes.palette == 1, "no tiles are configured");
  return tiles.shapes.rows[tile];
}
inline int words(int tile) { return tiles.shapes.row_bytes[tile] / 4; }

inline void configure(const void* from) {
  memcpy(&tiles.shapes, from, sizeof tiles.shapes);
  demand(tiles.shapes.palette == 1 && tiles.shapes.start_row == 0, "palette 1 from row 0 is what there is");
  for (int i = 0; i < 16; i++) {
    const int most = i < 8 ? 16 : 0;
    demand(tiles.shapes.rows[i] <= most && tiles.shapes.row_bytes[i] <= 4 * most, "a tile is too large");
    demand(!tiles.shapes.rows[i] == !tiles.shapes.row_bytes[i], "a tile has rows or bytes alone");
  }
  memset(tiles.data, 0, sizeof tiles.data);
}

inline void zero(int tile) { memset(tiles.data[tile], 0, 64 * rows(tile)); }

inline void load(int tile, const void* from, size_t stride) {
  memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
  for (int r = 0; r < rows(tile); r++) memcpy(tiles.data[tile][r], (const uint8_t*)from + r * stride, 4 * words(tile));
}

inline void store(int tile, void* to, size_t stride) {
  for (int r = 0; r < rows(tile); r++) memcpy((uint8_t*)to + r * stride, tiles.data[tile][r], 4 * words(tile));
}

// to += a . b: signed bytes of a's rows, unsigned ones of b, whose row k holds four of each column.
inline void dot_bytes(int to, int a, int b) {
  demand(to != a && to != b && a != b, "tiles of a product must differ");
  demand(rows(to) == rows(a) && words(to) == words(b) && words(a) == rows(b), "shapes of a product do not fit");
  for (int m = 0; m < rows(to); m++)
    for (int n = 0; n < words(to); n++) {
      int32_t sum;
      memcpy(&sum, tiles.data[to][m] + 4 * n, 4);
      for (int k = 0; k < 4 * words(a); k++)
        sum += int8_t(tiles.data[a][m][k]) * int32_t(tiles.data[b][k / 4][4 * n + k % 4]);
      memcpy(tiles.data[to][m] + 4 * n, &sum, 4);
    }
}

}  // namespace amx

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbsud
#undef _tile_loadconfig
#undef _tile_release
#define _tile_loadconfig(from) amx::configure(from)
#define _tile_release() (amx::tiles.shapes.palette = 0)
#define _tile_zero(tile) amx::zero(tile)
#define _tile_loadd(tile, from, stride) amx::load(tile, from, stride)
#define _tile_stored(tile, to, stride) amx::store(tile, to, stride)
#define _tile_dpbsud(to, a, b) amx::dot_bytes(to, a, b)
