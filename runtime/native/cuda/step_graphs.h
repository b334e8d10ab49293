/* Steps as graphs: what is queued for a class of steps is kept the second time that the class comes, and launched as
 * one from then on. The first time runs as it is queued, since kernels and plans of products are loaded then. */
#ifndef SKV_CUDA_STEP_GRAPHS_H
#define SKV_CUDA_STEP_GRAPHS_H
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "device.h"

namespace skv {

class StepGraphs {
 public:
  /* What tells classes of steps apart: everything that queue() depends on, but what lies in the device's memory. */
  using Key = std::vector<int32_t>;

  explicit StepGraphs(Device& device) : device_(device) {}

  template <class Queue>
  void run(const Key& key, Queue&& queue) {
    auto known = graphs_.find(key);
    if (known == graphs_.end()) {
      if (graphs_.size() >= kMost) graphs_.clear(); /* the device must be idle: it is between steps */
      graphs_.emplace(key, nullptr);
      return queue();
    }
    if (!known->second) {
      device_.begin_graph();
      try {
        queue();
      } catch (...) {
        device_.drop_graph(); /* or the device would seem lost: it answers nothing while it keeps a graph */
        throw;
      }
      known->second = device_.end_graph();
    }
    known->second->launch();
    launches_++;
  }

  /* After an array that launches name was allocated anew. */
  void forget() { graphs_.clear(); }
  int64_t launches() const { return launches_; }

 private:
  /* Of a model of 32 layers one takes a few hundred launches' memory. */
  static constexpr size_t kMost = 128;

  Device& device_;
  std::map<Key, std::unique_ptr<Graph>> graphs_;
  int64_t launches_ = 0;
};

}  // namespace skv
#endif
