// One product of AMX's tiles. On stdin: rows m and pairs k (i32), sums f32 [m][16], a [m][k] and b [k][16] pairs of
// bf16; the answer is f32 [m][16].
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "amx.cpu.h"

template <class T>
std::vector<T> read(size_t n) {
  std::vector<T> all(n);
  if (fread(all.data(), sizeof(T), n, stdin) != n) exit(2);
  return all;
}

// By itself: what nobody else reads a compiler leaves out, unless it is told that the instruction does.
[[gnu::noinline]] void configure(int m, int k) {
  skv_tile_shapes shapes;
  shapes.set(0, m, 64);
  shapes.set(1, m, 4 * k);
  shapes.set(2, k, 64);
  skv_tiles_configure(&shapes);
}

int main() {
  skv_has_tiles(SKV_TILES_OF_BF16);
  const auto size = read<int32_t>(2);
  const int m = size[0], k = size[1];
  auto sums = read<float>(16 * m);
  const auto a = read<uint32_t>(m * k), b = read<uint32_t>(16 * k);
  configure(m, k);
  skv_tile_load<0>(sums.data(), 64);
  skv_tile_load<1>(a.data(), 4 * k);
  skv_tile_load<2>(b.data(), 64);
  skv_tile_dot_bf16<0, 1, 2>();
  skv_tile_store<0>(sums.data(), 64);
  skv_tiles_release();
  fwrite(sums.data(), sizeof(float), sums.size(), stdout);
}
