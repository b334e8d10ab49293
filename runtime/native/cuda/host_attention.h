/* Attention in this machine's memory for a dense model on the device: the CPU's kernels attend where the pages are, and
 * what they and the dense model hand each other goes to and fro through memory that copies are fast from. */
#ifndef SKV_CUDA_HOST_ATTENTION_H
#define SKV_CUDA_HOST_ATTENTION_H
#include "attention.h"
#include "attention_io.h"
#include "backend.h"
#include "device.h"

namespace skv {

class HostAttention {
 public:
  /* io is in f32. device, buffers and io must outlive this. Throws std::runtime_error. */
  HostAttention(Device& device, const skv_config& config, const skv_buffers& buffers, DeviceIo& io)
      : device_(device),
        heads_(io.token_words(config.model.heads)),
        kv_heads_(io.token_words(config.model.kv_heads)),
        device_io_(io),
        memory_(device, AttentionIo::floats(config.model, config.max_tokens)),
        io_(config.model, config.max_tokens, memory_.data()),
        attention_(config, buffers, io_, nullptr) {}

  /* Between steps. */
  KvCache& cache() { return attention_.cache(); }
  const KvCache& cache() const { return attention_.cache(); }

  Halves begin(const skv_step_counts& counts) { return attention_.begin(counts); }
  /* Once the device has computed the half's q, k and v. */
  void start(const Half& half, int layer, const skv_row* last_rows) {
    download(io_.q, device_io_.q, half, heads_);
    download(io_.k, device_io_.k, half, kv_heads_);
    download(io_.v, device_io_.v, half, kv_heads_);
    device_.wait();
    attention_.start(half, layer, last_rows);
  }
  /* Then the half's out is on its way to the device. */
  void wait(const Half& half) {
    attention_.wait(half);
    const size_t at = half.token0 * heads_;
    device_.upload(device_io_.out.data() + at, io_.out + at, half.tokens * heads_ * sizeof(float));
  }
  void compact() { attention_.compact(); }

 private:
  /* width: of a token. */
  void download(float* to, const DeviceArray<uint32_t>& from, const Half& half, size_t width) {
    const size_t at = half.token0 * width;
    device_.download(to + at, from.data() + at, half.tokens * width * sizeof(float));
  }

  Device& device_;
  const size_t heads_, kv_heads_; /* numbers of a token */
  DeviceIo& device_io_;
  HostArray<float> memory_; /* io_ lies here */
  const AttentionIo io_;
  Attention attention_;
};

}  // namespace skv
#endif
