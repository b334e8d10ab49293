#include "cublaslt.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>

namespace skv {
namespace {

/* Numbers of the library's own enumerations. */
constexpr int32_t kCompute32F = 68, kTransposed = 1;
constexpr int32_t kOperationTransA = 3; /* attribute of an operation */
/* attributes of a preference */
constexpr int32_t kPreferenceMostWorkspace = 1, kPreferenceAlignmentB = 6, kPreferenceAlignmentC = 7,
                  kPreferenceAlignmentD = 8;

/* Bytes that products may use beside their arrays. */
constexpr size_t kWorkspace = size_t(32) << 20;

void* open_library() {
  const char* named = getenv("SKV_CUBLASLT");
  std::string tried;
  for (const char* name : {named, "libcublasLt.so.13", "libcublasLt.so.12"}) {
    if (!name) continue;
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
    tried += std::string("\n  ") + dlerror();
    if (name == named) break; /* falling through to another would hide the mistake */
  }
  throw std::runtime_error("cuBLASLt is needed for a model's products on a GPU, and cannot be opened:" + tried +
                           "\nInstall it (pip install nvidia-cublas, or a CUDA toolkit) and name the file in "
                           "SKV_CUBLASLT, or serve with the "
                           "CPU.");
}

/* The largest power of two, up to what the library takes arrays for, that arrays at such a place begin on. */
int32_t alignment_of(uintptr_t place) {
  int32_t alignment = 256;
  while (place % alignment) alignment /= 2;
  return alignment;
}

}  // namespace

template <class Fn>
void CublasLt::load(Fn& fn, const char* name) {
  fn = reinterpret_cast<Fn>(dlsym(library_, name));
  if (!fn) throw std::runtime_error(std::string("this cuBLASLt has no ") + name + ": install version 12 or 13");
}

void CublasLt::check(int32_t status, const char* what) const {
  if (status)
    throw std::runtime_error(std::string("cuBLASLt: ") + what + " failed with status " + std::to_string(status));
}

CublasLt::CublasLt(cudaStream_t stream) : library_(open_library()), stream_(stream) {
  load(create_, "cublasLtCreate");
  load(destroy_, "cublasLtDestroy");
  load(operation_create_, "cublasLtMatmulDescCreate");
  load(operation_set_, "cublasLtMatmulDescSetAttribute");
  load(operation_destroy_, "cublasLtMatmulDescDestroy");
  load(layout_create_, "cublasLtMatrixLayoutCreate");
  load(layout_destroy_, "cublasLtMatrixLayoutDestroy");
  load(preference_create_, "cublasLtMatmulPreferenceCreate");
  load(preference_set_, "cublasLtMatmulPreferenceSetAttribute");
  load(preference_destroy_, "cublasLtMatmulPreferenceDestroy");
  load(heuristic_, "cublasLtMatmulAlgoGetHeuristic");
  load(matmul_, "cublasLtMatmul");
  check(create_(&handle_), "opening it");
  if (cudaMalloc(&workspace_, kWorkspace) != cudaSuccess)
    throw std::runtime_error("the device has no memory left for the products' workspace");
}

CublasLt::~CublasLt() {
  for (const auto& [shape, plan] : plans_) {
    operation_destroy_(plan.operation);
    for (void* layout : {plan.w, plan.x, plan.out}) layout_destroy_(layout);
  }
  cudaFree(workspace_);
  destroy_(handle_);
}

/* The library counts columns first: w is [cols] x [rows] and transposed, x is [cols] x [tokens], out [rows] x [tokens].
 */
CublasLt::Plan CublasLt::plan(const DenseProduct& p, int32_t x_alignment, int32_t out_alignment) {
  const int32_t type = p.type == SKV_F32 ? CUDA_R_32F : CUDA_R_16BF;
  Plan plan;
  check(operation_create_(&plan.operation, kCompute32F, CUDA_R_32F), "describing a product");
  check(operation_set_(plan.operation, kOperationTransA, &kTransposed, sizeof kTransposed), "describing a product");
  check(layout_create_(&plan.w, type, p.cols, p.rows, p.cols), "describing weights");
  check(layout_create_(&plan.x, type, p.cols, p.tokens, p.cols), "describing activations");
  check(layout_create_(&plan.out, CUDA_R_32F, p.rows, p.tokens, p.stride), "describing a product's output");
  void* preference = nullptr;
  check(preference_create_(&preference), "describing a product");
  Found found{};
  int32_t count = 0;
  int32_t status = preference_set_(preference, kPreferenceMostWorkspace, &kWorkspace, sizeof kWorkspace);
  if (!status) status = preference_set_(preference, kPreferenceAlignmentB, &x_alignment, sizeof x_alignment);
  for (const int32_t attribute : {kPreferenceAlignmentC, kPreferenceAlignmentD})
    if (!status) status = preference_set_(preference, attribute, &out_alignment, sizeof out_alignment);
  if (!status)
    status = heuristic_(handle_, plan.operation, plan.w, plan.x, plan.out, plan.out, preference, 1, &found, &count);
  preference_destroy_(preference);
  const std::string what = "a product of " + std::to_string(p.rows) + " x " + std::to_string(p.cols) + " for " +
                           std::to_string(p.tokens) + " tokens";
  check(status, what.c_str());
  if (count == 0) throw std::runtime_error("cuBLASLt has no kernel for " + what);
  plan.algorithm = found.algorithm;
  return plan;
}

void CublasLt::multiply(const DenseProduct& p) {
  /* x may be of a step's later tokens, out some columns of a wider array */
  const int32_t x_alignment = alignment_of(reinterpret_cast<uintptr_t>(p.x));
  const int32_t out_alignment = alignment_of(reinterpret_cast<uintptr_t>(p.out) | size_t(p.stride) * sizeof(float));
  const Shape shape(p.rows, p.cols, p.tokens, p.stride, p.type, x_alignment, out_alignment);
  auto known = plans_.find(shape);
  if (known == plans_.end()) known = plans_.emplace(shape, plan(p, x_alignment, out_alignment)).first;
  const Plan& plan = known->second;
  const float one = 1, zero = 0;
  check(matmul_(handle_, plan.operation, &one, p.w, plan.w, p.x, plan.x, &zero, p.out, plan.out, p.out, plan.out,
                &plan.algorithm, workspace_, kWorkspace, stream_),
        "a product");
}

}  // namespace skv
