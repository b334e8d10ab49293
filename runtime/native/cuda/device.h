/* The device as this backend sees it: memory, copies, one stream, products of matrices. Two bodies: device_cuda.cpp
 * (the CUDA runtime, and cuBLASLt opened at run time) and test/emulation/device.cpp (this CPU). Everything is queued on
 * the stream and returns at once, but allocate() and wait(). What the device refuses throws std::runtime_error. */
#ifndef SKV_CUDA_DEVICE_H
#define SKV_CUDA_DEVICE_H
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace skv {

/* out[token][row] = Σ_col x[token][col] · w[row][col], sums and out in f32; all row-major on the device, out
 * [token][stride]. */
struct DenseProduct {
  int rows, cols, tokens, stride;
  int type; /* of w and x: SKV_F32 or SKV_BF16 */
  const void* w;
  const void* x;
  float* out;
};

/* Queued work, kept. */
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void launch() = 0;
  /* Of kernels, copies and products in it. */
  virtual size_t launches() const = 0;
};

class Device {
 public:
  static std::unique_ptr<Device> open();
  virtual ~Device() = default;

  virtual std::string name() const = 0;
  virtual int multiprocessors() const = 0;
  virtual void* stream() const = 0; /* cudaStream_t */
  /* Of quantised weights that are made plain for a product at a time. */
  virtual size_t panel_bytes() const = 0;

  /* Bytes that allocate() could still give. */
  virtual size_t free_bytes() = 0;
  /* Whether it still does what it is asked; after an error of a kernel's it may never again. */
  virtual bool answers() = 0;

  /* what: for errors, and for the emulation, which checks that kernels stay inside. */
  virtual void* allocate(size_t bytes, const char* what) = 0;
  virtual void free(void* memory) = 0;
  /* Host memory that copies are fast from and to, zeroed. */
  virtual void* allocate_host(size_t bytes) = 0;
  virtual void free_host(void* memory) = 0;

  /* For the emulation alone: kernels may touch all of an array again of which a policy named a part. */
  virtual void expose(const void* memory, size_t bytes, const char* what) {}

  virtual void clear(void* memory, size_t bytes) = 0;
  /* Host memory must stay as it is until wait() has returned. */
  virtual void upload(void* device, const void* host, size_t bytes) = 0;
  virtual void copy(void* to, const void* from, size_t bytes) = 0; /* both on the device */
  virtual void download(void* host, const void* device, size_t bytes) = 0;
  virtual void multiply(const DenseProduct& product) = 0;
  /* Until everything queued has been done. */
  virtual void wait() = 0;

  /* What is queued between these two is not done, but kept, to be done as often as the graph is launched: with the same
   * pointers, grids and numbers, and whatever lies in memory then. Nothing may be allocated or waited for meanwhile. */
  virtual void begin_graph() = 0;
  /* Null, and nothing is kept, where the device has no memory for it. */
  virtual std::unique_ptr<Graph> end_graph() = 0;
  /* Instead of end_graph(): nothing is kept. */
  virtual void drop_graph() = 0;
};

/* An array on the device. */
template <class T>
class DeviceArray {
 public:
  DeviceArray(Device& device, size_t n, const char* what) : device_(device) { resize(n, what); }
  ~DeviceArray() { device_.free(data_); }
  DeviceArray(const DeviceArray&) = delete;
  /* Contents are lost. */
  void resize(size_t n, const char* what) {
    if (data_) device_.free(data_);
    data_ = nullptr;
    n_ = n;
    data_ = static_cast<T*>(device_.allocate((n ? n : 1) * sizeof(T), what));
  }
  T* data() const { return data_; }
  size_t size() const { return n_; }
  size_t bytes() const { return n_ * sizeof(T); }

 private:
  Device& device_;
  T* data_ = nullptr;
  size_t n_ = 0;
};

/* An array of the host's that copies are fast from and to. */
template <class T>
class HostArray {
 public:
  HostArray(Device& device, size_t n) : device_(device), data_(static_cast<T*>(device.allocate_host(n * sizeof(T)))) {}
  ~HostArray() { device_.free_host(data_); }
  HostArray(const HostArray&) = delete;
  T* data() const { return data_; }
  T& operator[](size_t i) const { return data_[i]; }

 private:
  Device& device_;
  T* data_;
};

}  // namespace skv
#endif
