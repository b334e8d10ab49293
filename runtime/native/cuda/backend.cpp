/* skv_cuda.so: an engine on a CUDA device behind backend.h. */
#include "engine.h"
#include "entry.h"

extern "C" __attribute__((visibility("default"))) const skv_backend* skv_backend_entry(void) {
  static const skv_backend backend = skv::Entry<skv::CudaEngine>::backend("cuda");
  return &backend;
}
