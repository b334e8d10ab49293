// Memory and clocks of what runs the kernels: a GPU, or with SKV_EMULATED this process itself, where the policies'
// kernels are emulated and device memory is plain memory. Everything else of the driver is the same text for both.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef SKV_EMULATED
#include <chrono>
#else
#include <cuda_runtime.h>
#endif

namespace device {

#ifdef SKV_EMULATED
inline std::string describe() { return "emulation on the CPU"; }
inline int multiprocessors() { return 2; }
inline int64_t free_bytes() { return int64_t{1} << 30; }
inline void* allocate(size_t bytes) { return aligned_alloc(256, (bytes + 255) / 256 * 256); }
inline void release(void* p) { free(p); }
inline void upload(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
inline void download(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
inline void copy(void* to, const void* from, size_t bytes) { memcpy(to, from, bytes); }
inline void fill(void* to, int byte, size_t bytes) { memset(to, byte, bytes); }
inline void evict(const void*, size_t) {}
inline void wait() {}
inline void* stream() { return nullptr; }

// Microseconds of what runs between start and stop.
class Clock {
 public:
  void start() { begin_ = std::chrono::steady_clock::now(); }
  double stop() { return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_;
};
#else
inline void check(cudaError_t code, const char* what) {
  if (code != cudaSuccess)
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(code) + " (CUDA error " +
                             std::to_string(code) + ")");
}

// What runs here. Throws, in words, where there is no driver or no device.
inline std::string describe() {
  int devices = 0, driver = 0;
  const cudaError_t code = cudaGetDeviceCount(&devices);  // leaves its argument alone when it fails
  if (code != cudaSuccess || devices == 0)
    throw std::runtime_error(std::string("there is no CUDA device to run on: ") +
                             (code == cudaSuccess ? "none is visible" : cudaGetErrorString(code)) +
                             ". Run this on a machine with an NVIDIA GPU and driver.");
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, 0), "cudaGetDeviceProperties");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  return std::string(p.name) + ", sm_" + std::to_string(p.major * 10 + p.minor) + ", driver for CUDA " +
         std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
}
inline int multiprocessors() {
  int n = 0;
  check(cudaDeviceGetAttribute(&n, cudaDevAttrMultiProcessorCount, 0), "cudaDeviceGetAttribute");
  return n;
}
inline int64_t free_bytes() {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return (int64_t)free;
}
inline void* allocate(size_t bytes) {
  void* p = nullptr;
  check(cudaMalloc(&p, bytes ? bytes : 1), "cudaMalloc");
  return p;
}
inline void release(void* p) { cudaFree(p); }

// One stream for everything, so that what is uploaded comes before the kernels that read it.
inline cudaStream_t stream() {
  static cudaStream_t made = [] {
    cudaStream_t s;
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "cudaStreamCreate");
    return s;
  }();
  return made;
}
inline void wait() { check(cudaStreamSynchronize(stream()), "the kernels"); }
inline void upload(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream()), "upload");
  wait();  // `from` may go away
}
inline void download(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream()), "download");
  wait();
}
inline void copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "copy");
}
inline void fill(void* to, int byte, size_t bytes) { check(cudaMemsetAsync(to, byte, bytes, stream()), "fill"); }

static __global__ void read_all(const uint4* from, size_t n, uint32_t* never) {
  uint32_t sum = 0;
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x)
    sum |= from[i].x | from[i].y | from[i].z | from[i].w;
  if (sum == 0x5eed5eed) *never = sum;  // so that the loads are made
}
// Fills the caches with an array by reading it: nothing is left to be written back. Its words may not be 0x5eed5eed.
inline void evict(const void* array, size_t bytes) {
  // clang-format off
  read_all<<<multiprocessors() * 4, 512, 0, stream()>>>((const uint4*)array, bytes / 16, (uint32_t*)array);
  // clang-format on
  check(cudaGetLastError(), "evict");
}

// Microseconds on the stream between start and stop.
class Clock {
 public:
  Clock() {
    check(cudaEventCreate(&begin_), "event");
    check(cudaEventCreate(&end_), "event");
  }
  ~Clock() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Clock(const Clock&) = delete;
  void start() { check(cudaEventRecord(begin_, stream()), "event"); }
  double stop() {
    float ms = 0;
    check(cudaEventRecord(end_, stream()), "event");
    check(cudaEventSynchronize(end_), "the kernels");
    check(cudaEventElapsedTime(&ms, begin_, end_), "event");
    return ms * 1e3;
  }

 private:
  cudaEvent_t begin_, end_;
};
#endif

// An array on the device. Starts full of NaN: whatever is read unwritten shows.
template <class T>
class Array {
 public:
  Array() = default;
  explicit Array(size_t n) : at_((T*)allocate(n * sizeof(T))), size_(n) { fill(at_, 0xff, n * sizeof(T)); }
  Array(Array&& other) noexcept { *this = std::move(other); }
  Array& operator=(Array&& other) noexcept {
    std::swap(at_, other.at_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Array() {
    if (at_) release(at_);
  }
  T* data() const { return at_; }
  size_t size() const { return size_; }
  size_t bytes() const { return size_ * sizeof(T); }
  void set(const T* from, size_t n) {
    if (n > size_) throw std::out_of_range("more than an array on the device has room for");
    if (n) upload(at_, from, n * sizeof(T));
  }
  void set(const std::vector<T>& from) { set(from.data(), from.size()); }
  std::vector<T> get(size_t from, size_t n) const {
    if (from + n > size_) throw std::out_of_range("more than an array on the device has");
    std::vector<T> out(n);
    if (n) download(out.data(), at_ + from, n * sizeof(T));
    return out;
  }

 private:
  T* at_ = nullptr;
  size_t size_ = 0;
};

}  // namespace device
