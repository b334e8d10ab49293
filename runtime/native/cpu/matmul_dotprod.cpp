/* Dense products with NEON's dot products of bytes: matmul_neon.h. */
#if defined(__aarch64__) && defined(__linux__)
#include <arm_neon.h>
#include <sys/auxv.h>

#include <type_traits>

#include "matmul.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("arch=armv8.2-a+dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include "matmul_neon.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace skv {

extern const Isa kDotprod = {"dotprod", has_dotprod, {product, quantise_generic}};

}  // namespace skv
#endif
