/* skv_cpu.so: the CPU's engine behind backend.h. */
#include "engine.h"
#include "entry.h"

extern "C" __attribute__((visibility("default"))) const skv_backend* skv_backend_entry(void) {
  static const skv_backend backend = skv::Entry<skv::CpuEngine>::backend("cpu");
  return &backend;
}
