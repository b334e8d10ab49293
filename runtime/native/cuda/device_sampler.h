/* Draws on the device: the same as the CPU's sampler makes of the same logits. What comes back is a record a draw; the
 * logarithm of its log-probabilities is taken here, so that they too are the CPU's. */
#ifndef SKV_CUDA_DEVICE_SAMPLER_H
#define SKV_CUDA_DEVICE_SAMPLER_H
#include "backend.h"
#include "device.h"
#include "outbox.h"

struct Drawn;

namespace skv {

class DeviceSampler {
 public:
  /* device and buffers must outlive this. */
  DeviceSampler(Device& device, const skv_config& config, const skv_buffers& buffers);

  /* Words that put sends at most, in kPuts calls. */
  static size_t most_words(const skv_config& config);
  static constexpr size_t kPuts = 6;

  /* What the step's draws read: their records, those of nobody's draws up to `all`, and of histories, biases and masks
   * what they name. */
  void put(Outbox& outbox, int samplers, int all);
  /* Draws [first, first + n), at most SKV_KEPT_LOGITS, from logits [n][vocab] on the device. */
  void draw(const float* logits, int first, int n);
  void download(int samplers);
  /* Once the device has been waited for: into the shared arrays. */
  void tell(int samplers) const;

 private:
  const skv_buffers& buffers_;
  Device& device_;
  const int vocab_;
  DeviceArray<skv_sampler> sampler_;    /* [max_tokens] */
  DeviceArray<int32_t> history_, mask_; /* as the shared arrays of these names */
  DeviceArray<int32_t> bias_token_;
  DeviceArray<float> bias_value_;
  DeviceArray<float> adjusted_, prob_; /* [SKV_KEPT_LOGITS][vocab] */
  DeviceArray<int32_t> order_;         /* [SKV_KEPT_LOGITS][vocab] */
  DeviceArray<Drawn> drawn_;           /* [max_tokens] */
  HostArray<Drawn> drawns_;            /* [max_tokens] */
};

}  // namespace skv
#endif
