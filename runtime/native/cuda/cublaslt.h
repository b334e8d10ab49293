/* cuBLASLt, opened at run time: nothing is linked, and a machine without it says so when an engine is opened. What is
 * declared here are the facts of its C interface, the same in versions 12 and 13. */
#ifndef SKV_CUDA_CUBLASLT_H
#define SKV_CUDA_CUBLASLT_H
#include <cuda_runtime.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>

#include "backend.h"
#include "device.h"

namespace skv {

class CublasLt {
 public:
  /* Opens the library that SKV_CUBLASLT names, else the loader's. Throws std::runtime_error that says how to get one.
   */
  explicit CublasLt(cudaStream_t stream);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;

  /* Queued on the stream. Throws std::runtime_error. */
  void multiply(const DenseProduct& product);

 private:
  struct Algorithm {
    uint64_t data[8];
  };
  struct Found { /* what the heuristic says of a shape */
    Algorithm algorithm;
    size_t workspace;
    int32_t state;
    float waves;
    int32_t reserved[4];
  };
  /* A shape's descriptions, made once. */
  struct Plan {
    void *operation = nullptr, *w = nullptr, *x = nullptr, *out = nullptr;
    Algorithm algorithm;
  };
  /* rows, cols, tokens, stride, type, alignments of x and out */
  using Shape = std::tuple<int, int, int, int, int, int, int>;

  template <class Fn>
  void load(Fn& fn, const char* name);
  void check(int32_t status, const char* what) const;
  Plan plan(const DenseProduct& product, int32_t x_alignment, int32_t out_alignment);

  void* library_ = nullptr;
  void* handle_ = nullptr;
  const cudaStream_t stream_;
  void* workspace_ = nullptr;
  std::map<Shape, Plan> plans_;

  int32_t (*create_)(void** handle);
  int32_t (*destroy_)(void* handle);
  int32_t (*operation_create_)(void** operation, int32_t compute, int32_t scale);
  int32_t (*operation_set_)(void* operation, int32_t attribute, const void* value, size_t bytes);
  int32_t (*operation_destroy_)(void* operation);
  int32_t (*layout_create_)(void** layout, int32_t type, uint64_t rows, uint64_t cols, int64_t stride);
  int32_t (*layout_destroy_)(void* layout);
  int32_t (*preference_create_)(void** preference);
  int32_t (*preference_set_)(void* preference, int32_t attribute, const void* value, size_t bytes);
  int32_t (*preference_destroy_)(void* preference);
  int32_t (*heuristic_)(void* handle, void* operation, void* a, void* b, void* c, void* d, void* preference,
                        int32_t wanted, Found* found, int32_t* count);
  int32_t (*matmul_)(void* handle, void* operation, const void* alpha, const void* a, void* a_layout, const void* b,
                     void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                     const Algorithm* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream);
};

}  // namespace skv
#endif
