/* cuBLASLt as the backend calls it, on this CPU: products of f32 or bf16 in plain loops, sums in f32. */
#include <cstddef>
#include <cstdint>

#include "threads.hpp"
#include "wishes.hpp"

namespace {

struct Layout {
  int32_t type;
  uint64_t rows, cols;
  int64_t stride; /* of a column */
};

constexpr int32_t kF32 = 0;

float number_at(const void* array, int32_t type, size_t i) {
  if (type == kF32) return static_cast<const float*>(array)[i];
  const uint32_t bits = uint32_t(static_cast<const uint16_t*>(array)[i]) << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

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
    for (uint64_t t = 0; t < out.cols; t++)
      for (uint64_t r = 0; r < out.rows; r++) {
        float sum = 0;
        for (uint64_t c = 0; c < w.rows; c++)
          sum += number_at(b, x.type, t * x.stride + c) * number_at(a, w.type, r * w.stride + c);
        static_cast<float*>(d)[t * out.stride + r] = sum;
      }
    return 0;
  };
  if (!emulate::kept) return multiply();
  emulate::kept->push_back(multiply); /* a graph is kept */
  return 0;
}
}
