/* The KV cache and the policies that run it: the pool of pages, the tables that lead to them, the opened policy
 * libraries with their scratch, and the calls of a step in their order:
 *
 *   copy_pages      shared pages that a row will write to become its own
 *   begin           how many rows the step has
 *   attend(layer)   q, k, v -> pages; q and pages -> out, lse (attention_io.h); what policies observe -> lanes
 *   compact         losers leave their pages, after the last layer */
#ifndef SKV_KV_CACHE_H
#define SKV_KV_CACHE_H
#include <vector>

#include "attention_io.h"
#include "backend.h"
#include "arena.h"
#include "policies.h"
#include "threads.h"

namespace skv {

class KvCache {
 public:
  /* Opens the configuration's policies. buffers, io and threads must outlive this. Throws std::runtime_error. */
  KvCache(const skv_config& config, const skv_buffers& buffers, const AttentionIo& io, Threads& threads);

  /* Its index. */
  int add_policy(const char* path);
  int policies() const { return policies_.count(); }

  void copy_pages(int copies);
  void begin(int rows);
  /* Of the step's rows from row0 on: appends all their tokens; attends and observes for `attended` [rows of the step],
   * the same rows or without some of their first tokens. */
  void attend(int layer, int row0, int rows, const skv_row* attended);
  void compact();

  /* One lane of a sequence's live slots of one layer and head; returns how many, or -1 if there is no such thing. */
  int read_lane(int seq, int layer, int head, int lane, int32_t* out) const;
  const skv_shape& shape() const { return shape_; }
  size_t pool_bytes() const { return pool_.bytes(); }

 private:
  void size_scratch();

  const std::vector<float> inv_freq_;         /* [table][head_dim / 2] */
  const std::vector<skv_layer_shape> layers_; /* [layer] */
  const skv_shape shape_;
  const skv_buffers& buffers_;
  const AttentionIo& io_;
  Threads& threads_;
  Arena pool_; /* [pages][page_bytes] */
  Policies policies_;
  Array<uint8_t> scratch_;   /* [worker][exec_.scratch_bytes] */
  Array<float> step_floats_; /* skv_step.logits */
  skv_exec exec_{};
  skv_step step_{};
  int rows_ = 0; /* of the step */
};

}  // namespace skv
#endif
