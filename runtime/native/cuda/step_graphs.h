/* Steps as graphs: what is queued for a class of steps is kept the second time that the class comes, and launched as
 * one from then on. The first time runs as it is queued, since kernels and plans of products are loaded then. The
 * memory of graphs is bounded: what was launched longest ago makes room, and a class that finds none runs as it is
 * queued. */
#ifndef SKV_CUDA_STEP_GRAPHS_H
#define SKV_CUDA_STEP_GRAPHS_H
#include <algorithm>
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

  /* Bytes that graphs of a model may take together: what the most of them do, or a tenth of what is free. */
  static size_t room_in(size_t free, int layers) {
    return std::min(kMost * kLaunchesOfLayer * size_t(layers) * kLaunchBytes, free / 10);
  }

  explicit StepGraphs(Device& device) : device_(device) {}

  /* Bytes, of room_in; none before. */
  void allow(size_t bytes) { room_ = bytes; }

  template <class Queue>
  void run(const Key& key, Queue&& queue) {
    auto known = classes_.find(key);
    if (known == classes_.end()) {
      if (classes_.size() >= kMost) drop_oldest([](const Class&) { return true; });
      classes_[key].used = ++now_;
      return queue();
    }
    Class& now = known->second;
    now.used = ++now_; /* the newest: it is not dropped */
    if (!now.graph && !now.refused) {
      make_room(largest_);
      now.graph = keep(queue);
      if (now.graph) make_room(0);
      now.refused = !now.graph || !fits(0);
      if (now.refused) now.graph.reset();
    }
    if (!now.graph) return queue();
    now.graph->launch();
    launches_++;
  }

  /* After an array that launches name was allocated anew. */
  void forget() { classes_.clear(); }
  /* Steps that were launched as graphs. */
  int64_t launches() const { return launches_; }

 private:
  static constexpr size_t kMost = 128;
  /* Of a launch in a graph, as others have seen drivers take it. */
  static constexpr size_t kLaunchBytes = size_t(64) << 10;
  static constexpr size_t kLaunchesOfLayer = 12;

  struct Class {
    std::unique_ptr<Graph> graph;
    bool refused = false; /* its graph finds no room */
    uint64_t used = 0;    /* when last */
  };

  /* Null where the device has no memory for it. */
  template <class Queue>
  std::unique_ptr<Graph> keep(Queue&& queue) {
    device_.begin_graph();
    try {
      queue();
    } catch (...) {
      device_.drop_graph(); /* or the device would seem lost: it answers nothing while it keeps a graph */
      throw;
    }
    auto graph = device_.end_graph();
    if (graph) largest_ = std::max(largest_, graph->launches());
    return graph;
  }

  bool fits(size_t more) const {
    size_t launches = more;
    for (const auto& [key, each] : classes_) launches += each.graph ? each.graph->launches() : 0;
    return launches * kLaunchBytes <= room_;
  }

  /* For a graph of so many launches more, as far as there are older ones. The device is idle: it is between steps. */
  void make_room(size_t launches) {
    while (!fits(launches) && drop_oldest([&](const Class& each) { return each.graph && each.used != now_; })) {
    }
  }

  /* Whether there was one of those. */
  template <class Which>
  bool drop_oldest(Which&& which) {
    auto oldest = classes_.end();
    for (auto each = classes_.begin(); each != classes_.end(); ++each)
      if (which(each->second) && (oldest == classes_.end() || each->second.used < oldest->second.used)) oldest = each;
    if (oldest == classes_.end()) return false;
    classes_.erase(oldest);
    return true;
  }

  Device& device_;
  std::map<Key, Class> classes_;
  size_t room_ = 0, largest_ = 0; /* bytes; launches of the largest graph so far */
  uint64_t now_ = 0;
  int64_t launches_ = 0;
};

}  // namespace skv
#endif
