/* The instruction-set paths of this build, and the choice between them. */
#include <algorithm>
#include <cstdlib>

#include "matmul.h"

namespace skv {

extern const Isa kAmx, kAvx512, kAvxVnni, kAvx2, kI8mm, kDotprod, kGeneric;

const Isa* const kIsas[] = {
#if defined(__x86_64__)
    &kAmx,     &kAvx512, &kAvxVnni, &kAvx2,
#elif defined(__aarch64__) && defined(__linux__)
    &kI8mm,
    &kDotprod,
#endif
    &kGeneric,
};
const int kIsaCount = sizeof kIsas / sizeof *kIsas;

const Isa* find_isa(const char* name) {
  if (!name) name = getenv("SKV_ISA");
  for (int i = 0; i < kIsaCount; i++)
    if ((!name || !*name || !strcmp(name, kIsas[i]->name)) && kIsas[i]->supported()) return kIsas[i];
  return nullptr;
}

void quantise_all(Quantise quantise, const Activations& a, int tokens) {
  for (int t = 0; t < tokens; t++) quantise(a, t, a.x + size_t(t) * a.stride);
}

int piece_groups(int groups, size_t bytes, int workers, bool by_tiles) {
  const int pieces = std::min(groups, std::max(workers * 8, int(bytes >> 18)));
  const int size = (groups + pieces - 1) / pieces;
  return by_tiles ? (size + 1) / 2 * 2 : size;
}

}  // namespace skv
