// The kernels for pages of bf16.
#include "kernels_of.hpp"

constexpr Kernels bf16_kernels = table_of<Bf16>();
