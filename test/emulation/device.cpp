/* The device of the CUDA backend on this CPU: memory that the emulation watches, products in plain loops. */
#include "device.h"

#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

#include "cuda/layout.cuh"
#include "dense.hpp"

namespace skv {
namespace {

/* Launches, products and copies in their order, done whenever the graph is launched. */
class EmulatedGraph : public Graph {
 public:
  std::vector<std::function<int32_t()>> work;
  size_t aside = 0; /* of them, the emulation's own */
  size_t launches() const override { return work.size() - aside; }
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
  size_t free_bytes() override { return size_t(1) << 30; }
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
  void copy(void* to, const void* from, size_t bytes) override {
    queue([=] { memcpy(to, from, bytes); });
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
    emulate::kept_aside = 0;
  }
  std::unique_ptr<Graph> end_graph() override {
    emulate::kept = nullptr;
    graph_->aside = emulate::kept_aside;
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
    const bool wide = p.type == SKV_F32;
    emulate::multiply({p.w, size_t(p.cols), wide}, {p.x, size_t(p.cols), wide}, p.rows, p.cols, p.tokens, p.out,
                      p.stride);
  }

  std::unique_ptr<EmulatedGraph> graph_;
};

}  // namespace

std::unique_ptr<Device> Device::open() { return std::make_unique<EmulatedDevice>(); }

}  // namespace skv
