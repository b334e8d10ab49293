/* The KV cache on a device: the pool of pages, what of a step's arrays kernels read there, the opened policy libraries
 * with their scratch, and the calls of a step in their order:
 *
 *   put             rows, lengths, budgets, parameters, classes, and what is new of tables -> the outbox
 *   copy_pages      shared pages that a row will write to become its own
 *   attend(layer)   q, k, v -> pages; q and pages -> out, lse (attention_io.h); what policies observe -> lanes
 *   compact         losers leave their pages, after the last layer
 *   download        lengths, profiles -> the shared arrays, there once the device has been waited for */
#ifndef SKV_CUDA_KV_CACHE_H
#define SKV_CUDA_KV_CACHE_H
#include <vector>

#include "attention_io.h"
#include "backend.h"
#include "device.h"
#include "outbox.h"
#include "policies.h"

namespace skv {

/* Kernels have ways of their own for generated tokens. */
inline bool is_generated(const skv_row& row) { return row.tokens == 1 && row.pos0 >= row.prompt; }

class DeviceCache {
 public:
  /* Opens the configuration's policies. device, buffers and io must outlive this. Throws std::runtime_error. */
  DeviceCache(Device& device, const skv_config& config, int io_type, const skv_buffers& buffers, DeviceIo& io);

  /* Last of all that the device has memory for but what comes with the first steps, for which a pool whose size is not
   * named leaves `spare` bytes. Throws std::runtime_error. */
  void allocate_pool(const skv_config& config, size_t spare);
  /* Its index. Throws std::runtime_error for one whose kernels the device does not run. */
  int add_policy(const char* path);
  int policies() const { return policies_.count(); }

  /* Words that put sends at most, and its calls of Outbox::put. */
  static size_t most_words(const skv_config& config);
  static size_t most_puts(const skv_config& config);

  /* last_row [rows]: what attention of the last layer is asked for. rows: those of the step, or more of nobody's. */
  void put(Outbox& outbox, const skv_step_counts& counts, const skv_row* last_row, int rows);
  /* Hints become those of a class of steps, which one graph serves; what tells the classes apart is added to the key.
   * Of steps whose rows are all generated tokens. */
  void widen_hints(std::vector<int32_t>* key);
  void copy_pages(int copies);
  void attend(int layer);
  void compact();
  void download();

  /* One lane of a sequence's live slots of one layer and head; returns how many, or -1 if there is no such thing. */
  int read_lane(int seq, int layer, int head, int lane, int32_t* out);
  const skv_shape& shape() const { return shape_; }
  size_t pool_bytes() const { return pool_.bytes(); }

 private:
  void size_scratch();
  void put_tables(Outbox& outbox, const skv_row& row);
  void count_hints(int rows, const skv_row* last_row);
  void try_out(int index);
  size_t heads_of_sequence() const { return size_t(shape_.layers) * shape_.kv_heads; }

  Device& device_;
  DeviceArray<float> inv_freq_;               /* [table][head_dim / 2] */
  const std::vector<skv_layer_shape> layers_; /* [layer] */
  skv_shape shape_;                           /* pages: as allocate_pool found room for */
  const skv_buffers& buffers_;
  Policies policies_;

  DeviceArray<uint8_t> pool_; /* [pages][page_bytes] */
  /* As the shared arrays of these names: */
  DeviceArray<skv_row> row_, last_row_;
  DeviceArray<int32_t> table_, length_, profile_, budget_, classes_, copy_;
  DeviceArray<float> param_;

  DeviceArray<uint8_t> scratch_;
  DeviceArray<float> step_floats_;        /* skv_step.logits */
  std::vector<skv_hints> hints_;          /* [policy] of the step */
  std::vector<int> last_tokens_;          /* [policy] prompt_tokens of the last layer */
  std::vector<int> slots_;                /* [row] most live slots of one head, the step's tokens included */
  std::vector<int> read_by_, written_by_; /* [page] the last pair of copies that does, or -1 */
  int rows_ = 0;                          /* of the step; step_ may have more, of nobody's */
  skv_exec exec_{};
  skv_step step_{};
};

}  // namespace skv
#endif
