/* Dense products with AVX2 and FMA: matmul_256.h. */
#if defined(__AVX2__) && defined(__FMA__)
#include "matmul_256.h"

namespace skv {

extern const Isa kAvx2 = {"avx2", has_avx2, {product, quantise_generic}};

}  // namespace skv
#endif
