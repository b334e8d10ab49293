// Runs one policy on the device as an engine would: memory, tables, uploads, and the order of calls. It takes no time
// and judges nothing.
#pragma once
#include <string>
#include <vector>

#include "device.h"
#include "problem.h"

// A policy library that is open for good. Throws with the path and what is wrong with it.
const skv_policy* open_policy(const std::string& path);

// One head's live slots in the order of their positions.
struct Slots {
  std::vector<std::vector<int32_t>> lanes;  // [lane][slot]
  std::vector<float> keys, values;          // [slot][dim]

  // Of slots in any order.
  Slots(const std::vector<std::vector<int32_t>>& lanes, const std::vector<float>& keys,
        const std::vector<float>& values, int dim);
};

class Harness {
 public:
  // `shape` needs layers, kv_heads, group, head_dim, kv_type, io_type, max_tokens, max_slots, max_seqs; the rest
  // follows.
  Harness(const skv_policy* policy, skv_shape shape, const std::vector<float>& inv_freq);

  // Rows and what belongs to them, and the hints that follow from the rows and the lengths on the host.
  void begin(const Step& step);
  // q [token][query head][dim], k and v [token][KV head][dim] of the layer that runs next.
  void inputs(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v);
  void append(int layer) { call("append", policy_->append(&step_, layer, &exec_)); }
  void attend(int layer) { call("attend", policy_->attend(&step_, layer, &exec_)); }
  void observe(int layer) { call("observe", policy_->observe(&step_, layer, &exec_)); }
  void compact() { call("compact", policy_->compact(&step_, &exec_)); }
  // Copies pages on the device: [n][2] from, to.
  void copy_pages(const std::vector<int32_t>& pairs);

  std::vector<float> out(int tokens) const;  // [token][query head][dim]
  std::vector<float> lse(int tokens) const;  // [token][query head]
  // Live slots of every (seq, layer, KV head), read from the device; hints of later steps follow from them.
  const std::vector<int32_t>& read_lengths();
  void write_lengths(const std::vector<int32_t>& lengths);
  Slots read(int head) const;  // its place by sequence, layer and KV head

  const skv_shape& shape() const { return shape_; }
  const skv_policy* policy() const { return policy_; }
  device::Array<uint8_t>& pool() { return pool_; }

  // Device bytes that a harness of this shape takes for pages.
  static int64_t pool_bytes(const skv_policy* policy, const skv_shape& shape);

 private:
  void point();
  void call(const char* what, int32_t code);

  const skv_policy* policy_;
  skv_shape shape_;
  std::vector<skv_layer_shape> layers_;
  skv_step step_{};
  skv_exec exec_{};
  std::vector<int32_t> table_, host_lengths_;
  device::Array<float> inv_freq_, params_, lse_, logits_;
  device::Array<skv_row> rows_;
  device::Array<int32_t> tables_, lengths_, profiles_, budgets_, classes_;
  device::Array<uint8_t> pool_, scratch_, q_, k_, v_, out_;
};
