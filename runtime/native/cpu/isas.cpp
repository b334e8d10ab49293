/* The instruction-set paths of this build, best first. */
#include "matmul.h"

namespace skv {

extern const Isa kAvx512, kAvx2, kGeneric;

const Isa* const kIsas[] = {
#if defined(__x86_64__)
    &kAvx512,
    &kAvx2,
#endif
    &kGeneric,
};
const int kIsaCount = sizeof kIsas / sizeof *kIsas;

}  // namespace skv
