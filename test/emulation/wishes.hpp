// What a test wants of the emulated machine, by environment variables:
//   SKV_EMULATED_FAILURE   NAME=CODE, NAME=CODE@N, NAME=CODE~: the first call whose name has NAME in it, or the N-th,
//                          fails with the driver's CODE; with ~ a kernel's launch succeeds and the next wait fails
//                          nvcc alone: kernels do not compile, since their registers spill
//   SKV_EMULATED_MEMORY    bytes of the device; SKV_EMULATED_ARCH, _DRIVER, _DEVICES: as the driver numbers them
//   SKV_EMULATED_LAUNCHES  1: each launch writes its kernel, threads and shared bytes to stderr
#pragma once
#include <cstdlib>
#include <cstring>
#include <string>

namespace emulate {

inline long wish(const char* name, long otherwise) {
  const char* text = getenv(name);
  return text && *text ? atol(text) : otherwise;
}

// What has failed so far: calls that met the name, the error that the next wait tells, and the one that every call
// tells from now on, since it is of a kind that a device does not recover from.
struct Failures {
  std::string told;  // the wish that calls are counted for
  int calls = 0, pending = 0, lost = 0;
};
inline Failures failures;

// 700 and some: addresses, instructions, assertions; 214, 220: memory, links.
inline bool is_lasting(int code) { return (code >= 700 && code != 701) || code == 214 || code == 220; }

// 0, or the code that a call or a launch of this name fails with.
inline int failing(const char* name, bool launched = false) {
  Failures& f = failures;
  const char* wished = getenv("SKV_EMULATED_FAILURE");
  if (f.told != (wished ? wished : "")) {
    f = Failures();
    f.told = wished ? wished : "";
  }
  if (f.lost) return f.lost;
  if (f.pending && !strcmp(name, "cudaStreamSynchronize")) return f.lost = f.pending;
  const std::string text = f.told;
  const size_t equals = text.find('=');
  if (equals == std::string::npos || !strstr(name, text.substr(0, equals).c_str())) return 0;
  const int code = atoi(text.c_str() + equals + 1);
  const size_t at = text.find('@');
  if (++f.calls != (at == std::string::npos ? 1 : atoi(text.c_str() + at + 1))) return 0;
  if (launched && text.back() == '~') {
    f.pending = code;
    return 0;
  }
  if (is_lasting(code)) f.lost = code;
  return code;
}

inline const char* words_of(int code) {
  switch (code) {
    case 2:
      return "out of memory";
    case 35:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case 100:
      return "no CUDA-capable device is detected";
    case 209:
      return "no kernel image is available for execution on the device";
    case 214:
      return "uncorrectable ECC error encountered";
    case 700:
      return "an illegal memory access was encountered";
    case 719:
      return "unspecified launch failure";
    case 701:
      return "too many resources requested for launch";
    default:
      return "unknown error";
  }
}

}  // namespace emulate
