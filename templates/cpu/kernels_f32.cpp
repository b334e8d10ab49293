// The kernels for pages of f32.
#include "kernels_of.hpp"

constexpr Kernels f32_kernels = table_of<F32>();
