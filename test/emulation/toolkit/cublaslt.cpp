/* cuBLASLt as the backend calls it, on this CPU: products of f32 or bf16 in plain loops, sums in f32. */
#include <cstddef>
#include <cstdint>

#include "dense.hpp"
#include "threads.hpp"
#include "wishes.hpp"

namespace {

struct Layout {
  int32_t type;
  uint64_t rows, cols;
  int64_t stride; /* of a column */
};

constexpr int32_t kF32 = 0;

}  // namespace

extern "C" {

int32_t cublasLtCreate(void** handle) {
  *handle = nullptr;
  return emulate::failing("cublasLtCreate");
}
int32_t cublasLtDestroy(void*) { return 0; }
int32_t cublasLtMatmulDescCreate(void** operation, int32_t, int32_t) {
  *operation = nullptr;
  return emulate::failing("cublasLtMatmulDescCreate");
}
int32_t cublasLtMatmulDescSetAttribute(void*, int32_t, const void*, size_t) { return 0; }
int32_t cublasLtMatmulDescDestroy(void*) { return 0; }
int32_t cublasLtMatrixLayoutCreate(void** layout, int32_t type, uint64_t rows, uint64_t cols, int64_t stride) {
  *layout = new Layout{type, rows, cols, stride};
  return 0;
}
int32_t cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return 0;
}
int32_t cublasLtMatmulPreferenceCreate(void** preference) {
  *preference = nullptr;
  return 0;
}
int32_t cublasLtMatmulPreferenceSetAttribute(void*, int32_t, const void*, size_t) { return 0; }
int32_t cublasLtMatmulPreferenceDestroy(void*) { return 0; }
int32_t cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int32_t, void*,
                                       int32_t* count) {
  *count = emulate::wish("SKV_EMULATED_ALGORITHMS", 1) > 0;
  return emulate::failing("cublasLtMatmulAlgoGetHeuristic");
}
int32_t cublasLtMatmul(void*, void*, const void*, const void* a, void* a_layout, const void* b, void* b_layout,
                       const void*, const void*, void*, void* d, void* d_layout, const void*, void*, size_t, void*) {
  if (const int code = emulate::failing("cublasLtMatmul")) return code;
  const Layout w = *static_cast<Layout*>(a_layout), x = *static_cast<Layout*>(b_layout),
               out = *static_cast<Layout*>(d_layout);
  auto multiply = [=] {
    emulate::multiply({a, size_t(w.stride), w.type == kF32}, {b, size_t(x.stride), x.type == kF32}, out.rows, w.rows,
                      out.cols, static_cast<float*>(d), out.stride);
    return 0;
  };
  if (!emulate::kept) return multiply();
  emulate::kept->push_back(multiply); /* a graph is kept */
  return 0;
}
}
