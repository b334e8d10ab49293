/* The device of the CUDA backend on this CPU: memory that the emulation watches, products in plain loops. */
#include "device.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>

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

class EmulatedDevice : public Device {
 public:
  std::string name() const override { return "emulation"; }
  int multiprocessors() const override { return 1; }
  void* stream() const override { return nullptr; }

  void* allocate(size_t bytes, const char* what) override {
    const size_t words = (bytes + 3) / 4 * 4;
    void* memory = allocate_host(words);
    memset(memory, 0xff, words); /* NaN, and no index: what is read before it is written shows */
    expose(memory, int64_t(words), what);
    return memory;
  }
  void free(void* memory) override { ::free(memory); }
  void* allocate_host(size_t bytes) override {
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, bytes ? bytes : 256)) throw std::bad_alloc();
    memset(memory, 0, bytes);
    return memory;
  }
  void free_host(void* memory) override { ::free(memory); }

  void clear(void* memory, size_t bytes) override { memset(memory, 0, bytes); }
  void upload(void* device, const void* host, size_t bytes) override { memcpy(device, host, bytes); }
  void download(void* host, const void* device, size_t bytes) override { memcpy(host, device, bytes); }
  void multiply(const DenseProduct& p) override {
    for (int t = 0; t < p.tokens; t++)
      for (int r = 0; r < p.rows; r++) {
        float sum = 0;
        for (int c = 0; c < p.cols; c++)
          sum += number_at(p.x, p.type, size_t(t) * p.cols + c) * number_at(p.w, p.type, size_t(r) * p.cols + c);
        p.out[size_t(t) * p.rows + r] = sum;
      }
  }
  void wait() override {}
};

}  // namespace

std::unique_ptr<Device> Device::open() { return std::make_unique<EmulatedDevice>(); }

}  // namespace skv
