/* CUDA's runtime on this CPU: memory that the emulation watches and that is as little as a test wishes, work that is
 * done when it is queued, and failures on demand (wishes.hpp). */
#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "cuda/layout.cuh"

namespace {

std::map<void*, size_t> allocated;

/* What is queued while a graph is kept, and then whenever it is launched. */
using Work = std::vector<std::function<int32_t()>>;
size_t nodes_of(const Work& kept) { return kept.size() - emulate::kept_aside; }
struct Made {
  Work work;
  size_t nodes;
};

/* Now, or as part of the graph that is kept. */
template <class Fn>
cudaError_t queue(const char* name, Fn fn) {
  if (const int error = emulate::failing(name)) return cudaError_t(error);
  if (emulate::kept)
    emulate::kept->push_back([=] {
      fn();
      return 0;
    });
  else
    fn();
  return cudaSuccess;
}

/* Kernels may touch all of an array again of which a policy named a part. */
void expose_all() {
  for (const auto& [memory, bytes] : allocated) {
    bool whole = false;
    for (const emulate::Region& each : emulate::regions) whole = whole || (each.base == memory && each.bytes >= bytes);
    if (!whole) expose(memory, int64_t((bytes + 3) / 4 * 4), "memory of the device");
  }
}

/* What a driver takes of the device for each node of a graph that can be launched. */
constexpr size_t kNodeBytes = size_t(64) << 10;
size_t graph_nodes = 0;

size_t total_bytes() { return size_t(emulate::wish("SKV_EMULATED_MEMORY", 256 << 20)); }
size_t used_bytes() {
  size_t used = graph_nodes * kNodeBytes;
  for (const auto& [memory, bytes] : allocated) used += bytes;
  return used;
}

cudaError_t told(const char* name) { return cudaError_t(emulate::failing(name)); }

void* aligned(size_t bytes) {
  void* memory = nullptr;
  return posix_memalign(&memory, 256, bytes ? bytes : 256) ? nullptr : memory;
}

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t error = told("cudaGetDeviceCount")) return error; /* and leaves count as it is */
  *count = int(emulate::wish("SKV_EMULATED_DEVICES", 1));
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const int arch = int(emulate::wish("SKV_EMULATED_ARCH", 90));
  *properties = cudaDeviceProp{};
  strcpy(properties->name, "Emulated");
  properties->major = arch / 10;
  properties->minor = arch % 10;
  properties->multiProcessorCount = 1;
  return told("cudaGetDeviceProperties");
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) { return emulate::words_of(error); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return told("cudaStreamCreateWithFlags");
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return told("cudaStreamSynchronize"); }
cudaError_t cudaDeviceSynchronize() { return told("cudaDeviceSynchronize"); }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = total_bytes();
  *free = *total - used_bytes();
  return told("cudaMemGetInfo");
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (const cudaError_t error = told("cudaMalloc")) return error;
  if (used_bytes() + bytes > total_bytes()) return cudaErrorMemoryAllocation;
  const size_t words = (bytes + 3) / 4 * 4;
  *memory = aligned(words);
  memset(*memory, 0xff, words); /* NaN, and no index: what is read before it is written shows */
  allocated[*memory] = bytes;
  expose(*memory, int64_t(words), "memory of the device");
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  allocated.erase(memory);
  emulate::hide(memory);
  free(memory);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = aligned(bytes);
  return told("cudaHostAlloc");
}
cudaError_t cudaFreeHost(void* memory) {
  free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t) {
  return queue("cudaMemsetAsync", [=] { memset(memory, byte, bytes); });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (kind == cudaMemcpyHostToDevice && !emulate::kept) expose_all(); /* as a step begins */
  return queue("cudaMemcpyAsync", [=] { memcpy(to, from, bytes); });
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  emulate::kept = new Work;
  emulate::kept_aside = 0;
  return told("cudaStreamBeginCapture");
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = reinterpret_cast<cudaGraph_t>(emulate::kept);
  emulate::kept = nullptr;
  return told("cudaStreamEndCapture");
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t error = told("cudaGraphInstantiate")) return error;
  const Work& work = *reinterpret_cast<Work*>(graph);
  if (used_bytes() + nodes_of(work) * kNodeBytes > total_bytes()) return cudaErrorMemoryAllocation;
  graph_nodes += nodes_of(work);
  *made = reinterpret_cast<cudaGraphExec_t>(new Made{work, nodes_of(work)});
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = nodes_of(*reinterpret_cast<Work*>(graph));
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return told("cudaGraphUpload"); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t made, cudaStream_t) {
  if (const cudaError_t error = told("cudaGraphLaunch")) return error;
  for (const auto& each : reinterpret_cast<Made*>(made)->work)
    if (const int32_t code = each()) return cudaError_t(code - SKV_E_DEVICE);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Work*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t made) {
  const Made* graph = reinterpret_cast<Made*>(made);
  graph_nodes -= graph->nodes;
  delete graph;
  return cudaSuccess;
}
