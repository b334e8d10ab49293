/* The device by the CUDA runtime. */
#include <cuda_runtime.h>

#include <cstring>
#include <stdexcept>

#include "backend.h"
#include "cublaslt.h"
#include "device.h"

namespace skv {
namespace {

/* Oldest device that the kernels are written for: cp.async and bf16 products. */
constexpr int kOldest = 80;

void check(cudaError_t error, const std::string& what) {
  if (error == cudaSuccess) return;
  cudaGetLastError(); /* not told again by a later launch */
  throw std::runtime_error(what + ": " + cudaGetErrorString(error));
}

std::string size_text(size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

/* The first device, when it can run the kernels. */
cudaDeviceProp first_device() {
  int count = 0; /* stays as it is where there is no driver */
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    cudaGetLastError();
    throw std::runtime_error(std::string("there is no CUDA device here that this driver can run (") +
                             cudaGetErrorString(error) +
                             "): install a driver for CUDA 13, 580 or newer, or serve with the CPU");
  }
  check(error, "CUDA does not start");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "the device says nothing of itself");
  if (properties.major * 10 + properties.minor < kOldest)
    throw std::runtime_error(std::string(properties.name) + " has compute capability " +
                             std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                             ", 8.0 or newer is needed: serve with the CPU");
  return properties;
}

/* Owns the stream before what uses it is opened. */
class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "the device gives no stream"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaGraph : public Graph {
 public:
  /* Takes the graph over. Its memory is all allocated now, and not by some step's launch; null where there is none. */
  static std::unique_ptr<Graph> make(cudaGraph_t graph, cudaStream_t stream) {
    std::unique_ptr<CudaGraph> made(new CudaGraph(stream));
    cudaError_t error = cudaGraphGetNodes(graph, nullptr, &made->launches_);
    if (!error) error = cudaGraphInstantiate(&made->graph_, graph, 0);
    if (!error) error = cudaGraphUpload(made->graph_, stream);
    cudaGraphDestroy(graph);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError(); /* not told again by a later launch */
      return nullptr;
    }
    check(error, "a step cannot be kept as a graph");
    return made;
  }
  ~CudaGraph() override {
    if (graph_) cudaGraphExecDestroy(graph_);
  }
  CudaGraph(const CudaGraph&) = delete;
  void launch() override { check(cudaGraphLaunch(graph_, stream_), "a step that was kept as a graph"); }
  size_t launches() const override { return launches_; }

 private:
  explicit CudaGraph(cudaStream_t stream) : stream_(stream) {}
  const cudaStream_t stream_;
  cudaGraphExec_t graph_ = nullptr;
  size_t launches_ = 0;
};

class CudaDevice : public Device {
 public:
  CudaDevice() : properties_(first_device()), products_(stream_.get()) {}

  std::string name() const override {
    return std::string(properties_.name) + " sm_" + std::to_string(properties_.major * 10 + properties_.minor);
  }
  int multiprocessors() const override { return properties_.multiProcessorCount; }
  void* stream() const override { return stream_.get(); }
  size_t panel_bytes() const override { return size_t(64) << 20; }

  void* allocate(size_t bytes, const char* what) override {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation)
      throw std::runtime_error("the device has no " + size_text(bytes) + " left for " + what + ", of which " +
                               size_text(free_bytes()) + " are free: end what else runs there (nvidia-smi names it), " +
                               "or take a smaller model, a lower --max-num-batched-tokens or --kv-cache-memory");
    check(error, std::string("memory for ") + what);
    return memory;
  }
  size_t free_bytes() override {
    size_t free = 0, total = 0;
    cudaGetLastError(); /* of an allocation that failed */
    check(cudaMemGetInfo(&free, &total), "the device does not say how much memory it has");
    return free;
  }
  bool answers() override {
    cudaGetLastError();
    return cudaDeviceSynchronize() == cudaSuccess;
  }
  void free(void* memory) override { cudaFree(memory); }
  void* allocate_host(size_t bytes) override {
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "no " + size_text(bytes) + " of pinned memory");
    memset(memory, 0, bytes);
    return memory;
  }
  void free_host(void* memory) override { cudaFreeHost(memory); }

  void clear(void* memory, size_t bytes) override {
    check(cudaMemsetAsync(memory, 0, bytes, stream_.get()), "the device clears no memory");
  }
  void upload(void* device, const void* host, size_t bytes) override {
    check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_.get()), "a copy to the device");
  }
  void copy(void* to, const void* from, size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.get()), "a copy on the device");
  }
  void download(void* host, const void* device, size_t bytes) override {
    check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_.get()), "a copy from the device");
  }
  void multiply(const DenseProduct& product) override { products_.multiply(product); }
  void wait() override {
    check(cudaStreamSynchronize(stream_.get()), "a kernel of the step failed (CUDA_LAUNCH_BLOCKING=1 tells which)");
  }

  void begin_graph() override {
    check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "keeping a step as a graph");
  }
  std::unique_ptr<Graph> end_graph() override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_.get(), &graph), "keeping a step as a graph");
    return CudaGraph::make(graph, stream_.get());
  }
  void drop_graph() override {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream_.get(), &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
    cudaGetLastError(); /* that nothing was kept is no news */
  }

 private:
  const cudaDeviceProp properties_;
  const Stream stream_;
  CublasLt products_;
};

}  // namespace

std::unique_ptr<Device> Device::open() { return std::make_unique<CudaDevice>(); }

}  // namespace skv
