// What every file that launches kernels says of a launch.
#pragma once
#include <stdexcept>
#include <string>

#include "cuda/layout.cuh"

namespace skv {

/* Throws for a launch that the device refused. */
inline void launched(int32_t code) {
  if (code) throw std::runtime_error(std::string("the device refused a kernel: ") + device_error(code - SKV_E_DEVICE));
}

}  // namespace skv
