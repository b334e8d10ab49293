// The kernels for pages of bf16. Where the compiler knows AMX, attention has two texts, and which it is shows when the
// library is loaded.
#include "kernels_of.hpp"

#if defined(SKV_FOR_TILES) && defined(__AVX512BF16__)
static Kernels kernels_of_this_processor() {
  Kernels kernels = table_of<Bf16>();
  if (skv_has_tiles(SKV_TILES_OF_BF16)) kernels.attend = attend<Bf16Amx>;
  return kernels;
}
const Kernels bf16_kernels = kernels_of_this_processor();
#else
constexpr Kernels bf16_kernels = table_of<Bf16>();
#endif
