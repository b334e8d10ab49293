/* The device of the CUDA backend on this CPU: memory that the emulation watches, products in plain loops. */
#include "device.h"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

#include "cuda/layout.cuh"

namespace skv {
namespace {

float number_at(const void* array, int type, size_t i) {
  if (type == SKV_F32) return static_cast<const float*>(array)[i];
  const uint32_t bits = uint32_t(static_cast<const uint16_t*>(array)[i]) << 16;
  float out;
  memcpy(&out, &bits, 4);
  return out;
}

/* Launches, products and copies in their order, done whenever the graph is launched. */
class EmulatedGraph : public Graph {
 public:
  std::vector<std::function<int32_t()>> work;
  void launch() override {
    for (const auto& each : work)
      if (const int32_t code = each()) throw std::runtime_error(std::string("in a graph: ") + device_error(code));
  }
};

class EmulatedDevice : public Device {
 public:
  ~EmulatedDevice() override {
    if (graph_) emulate::kept = nullptr;
  }
  std::string name() const override { return "emulation"; }
  int multiprocessors() const override { return 1; }
  void* stream() const override { return nullptr; }
  size_t panel_bytes() const override { return 48 << 10; } /* several for the matrices of tests */
  size_t free_bytes() override { return size_t(16) << 20; }
  bool answers() override { return true; }

  void* allocate(size_t bytes, const char* what) override {
    const size_t words = (bytes + 3) / 4 * 4;
    if (graph_) throw std::runtime_error(std::string("memory for ") + what + " while a graph is kept");
    void* memory = allocate_host(words);
    memset(memory, 0xff, words); /* NaN, and no index: what is read before it is written shows */
    expose(memory, int64_t(words), what);
    return memory;
  }
  void free(void* memory) override {
    emulate::hide(memory);
    ::free(memory);
  }
  void* allocate_host(size_t bytes) override {
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, bytes ? bytes : 256)) throw std::bad_alloc();
    memset(memory, 0, bytes);
    return memory;
  }
  void free_host(void* memory) override { ::free(memory); }

  void expose(const void* memory, size_t bytes, const char* what) override {
    emulate::expose(memory, int64_t(bytes), what);
  }

  void clear(void* memory, size_t bytes) override {
    queue([=] { memset(memory, 0, bytes); });
  }
  void upload(void* device, const void* host, size_t bytes) override {
    queue([=] { memcpy(device, host, bytes); });
  }
  void download(void* host, const void* device, size_t bytes) override {
    queue([=] { memcpy(host, device, bytes); });
  }
  void multiply(const DenseProduct& product) override {
    queue([=] { multiply_now(product); });
  }
  void wait() override {
    if (graph_) throw std::runtime_error("the device is waited for while a graph is kept");
  }

  void begin_graph() override {
    graph_ = std::make_unique<EmulatedGraph>();
    emulate::kept = &graph_->work;
  }
  std::unique_ptr<Graph> end_graph() override {
    emulate::kept = nullptr;
    return std::move(graph_);
  }
  void drop_graph() override { end_graph(); }

 private:
  /* Now, or whenever the graph that is kept is launched. */
  template <class Work>
  void queue(Work work) {
    if (!graph_) return work();
    graph_->work.push_back([=] {
      work();
      return 0;
    });
  }
  static void multiply_now(const DenseProduct& p) {
    for (int t = 0; t < p.tokens; t++)
      for (int r = 0; r < p.rows; r++) {
        float sum = 0;
        for (int c = 0; c < p.cols; c++)
          sum += number_at(p.x, p.type, size_t(t) * p.cols + c) * number_at(p.w, p.type, size_t(r) * p.cols + c);
        p.out[size_t(t) * p.stride + r] = sum;
      }
  }

  std::unique_ptr<EmulatedGraph> graph_;
};

}  // namespace

std::unique_ptr<Device> Device::open() { return std::make_unique<EmulatedDevice>(); }

}  // namespace skv
