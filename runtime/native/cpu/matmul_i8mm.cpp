/* Dense products with NEON's products of matrices of bytes, and dot products for fewer than 16 tokens: matmul_neon.h.
 * By compilers that do not know them, a path that is never there. */
#if defined(__aarch64__) && defined(__linux__)
#if __GNUC__ >= 10 || __clang_major__ >= 11
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

#include <type_traits>

#include "matmul.h"

#define SKV_I8MM
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("arch=armv8.2-a+dotprod+i8mm"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#endif
#include "matmul_neon.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace skv {

static bool has_i8mm() { return has_dotprod() && getauxval(AT_HWCAP2) & HWCAP2_I8MM; }

extern const Isa kI8mm = {"i8mm", has_i8mm, {product, quantise_generic}};

}  // namespace skv
#else
#include "matmul.h"

namespace skv {

static bool never() { return false; }

extern const Isa kI8mm = {"i8mm", never, {}};

}  // namespace skv
#endif
#endif
