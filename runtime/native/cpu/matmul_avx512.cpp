/* Dense products with AVX-512 and VNNI: matmul_512.h. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "matmul_512.h"

namespace skv {

extern const Isa kAvx512 = {"avx512vnni", has_avx512, {product, quantise}};

}  // namespace skv
#endif
