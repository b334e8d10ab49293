/* Dense products with AVX2 and a dot product of bytes: matmul_256.h. Compiled for AVX-VNNI, or by tests for the same
 * instruction of AVX-512; by compilers that know neither, a path that is never there. */
#if defined(__x86_64__)
#if defined(__AVXVNNI__) || (defined(__AVX512VNNI__) && defined(__AVX512VL__))
#include "matmul_256.h"

namespace skv {

static bool has_vnni() {
#if defined(__AVXVNNI__)
  constexpr unsigned kAvxVnniBit = 1u << 4;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & kAvxVnniBit);
#else
  return has_avx2() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl");
#endif
}

extern const Isa kAvxVnni = {"avxvnni", has_vnni, {product, quantise_generic}};

}  // namespace skv
#else
#include "matmul.h"

namespace skv {

static bool never() { return false; }

extern const Isa kAvxVnni = {"avxvnni", never, {}};

}  // namespace skv
#endif
#endif
