#include "kv_cache.h"

#include <cstring>
#include <stdexcept>

#include "lane.h"
#include "shape.h"

namespace skv {
namespace {

constexpr const char* kTarget = "cpu";

void run_parallel(void* self, int32_t items, int32_t near, void (*run)(void*, int32_t, int32_t), void* arg) {
  static_cast<Threads*>(self)->parallel(items, near != 0, run, arg);
}

}  // namespace

KvCache::KvCache(const skv_config& c, const skv_buffers& buffers, const AttentionIo& io, Threads& threads)
    : inv_freq_(c.model.inv_freq, c.model.inv_freq + size_t(c.model.ropes) * (c.model.head_dim / 2)),
      layers_(layer_shapes(c.model, inv_freq_.data())),
      shape_(shape_of(c, lanes_of(c, kTarget), SKV_F32, layers_)),
      buffers_(buffers),
      io_(io),
      threads_(threads),
      pool_(size_t(shape_.pages) * shape_.page_bytes),
      policies_(kTarget, shape_) {
  if (c.pool_fraction != 0) throw std::runtime_error("a fraction of a device's memory is no size of the CPU's pool");
  exec_.workers = threads.count();
  exec_.self = &threads;
  exec_.parallel = run_parallel;
  for (int i = 0; i < c.policies; i++) add_policy(c.policy[i]);
}

int KvCache::add_policy(const char* path) {
  const int index = policies_.add(path);
  size_scratch();
  return index;
}

void KvCache::size_scratch() {
  const int64_t bytes = (policies_.scratch_bytes() + 4095) / 4096 * 4096; /* no two workers on one page of the system */
  const size_t floats = size_t(policies_.step_floats());
  if (bytes > exec_.scratch_bytes) {
    scratch_.resize(size_t(bytes) * threads_.count());
    exec_.scratch = scratch_.data();
    exec_.scratch_bytes = bytes;
  }
  if (floats > step_floats_.size()) step_floats_.resize(floats);
}

/* Pairs may depend on each other (a page freed by one is another's target), so every worker walks all pairs in order
 * and copies its own cache lines of each page. */
void KvCache::copy_pages(int copies) {
  if (copies == 0) return;
  const int slices = threads_.count();
  const size_t bytes = shape_.page_bytes, lines = bytes / kLine;
  threads_.each(slices, [&](int32_t slice, int32_t) {
    const size_t begin = lines * slice / slices * kLine, end = lines * (slice + 1) / slices * kLine;
    for (int i = 0; i < copies; i++) {
      const size_t from = buffers_.copy[2 * i], to = buffers_.copy[2 * i + 1];
      memcpy(pool_.data() + to * bytes + begin, pool_.data() + from * bytes + begin, end - begin);
    }
  });
}

void KvCache::begin(int rows) {
  step_ = {};
  step_.abi_version = SKV_ABI_VERSION;
  step_.size = sizeof step_;
  step_.shape = &shape_;
  rows_ = rows;
  step_.pool = pool_.data();
  step_.tables = buffers_.table;
  step_.lengths = buffers_.length;
  step_.profiles = buffers_.profile;
  step_.budgets = buffers_.budget;
  step_.params = buffers_.param;
  step_.classes = buffers_.classes;
  step_.q = io_.q;
  step_.k = io_.k;
  step_.v = io_.v;
  step_.out = io_.out;
  step_.lse = io_.lse;
  step_.logits = step_floats_.data();
}

void KvCache::attend(int layer, int row0, int rows, const skv_row* attended) {
  step_.rows = rows;
  policies_.each(
      buffers_.row + row0, rows, [](const skv_row&) { return true; }, "failed",
      [&](const skv_policy& policy, int index) {
        step_.self = index;
        step_.row = buffers_.row + row0;
        if (const int32_t code = policy.append(&step_, layer, &exec_)) return code;
        step_.row = attended + row0;
        if (const int32_t code = policy.attend(&step_, layer, &exec_)) return code;
        return policy.observe ? policy.observe(&step_, layer, &exec_) : 0;
      });
}

void KvCache::compact() {
  step_.rows = rows_;
  step_.row = buffers_.row;
  policies_.each(
      buffers_.row, rows_, [](const skv_row& row) { return row.compact != 0; }, "failed to compact",
      [&](const skv_policy& policy, int index) {
        step_.self = index;
        return policy.compact(&step_, &exec_);
      });
}

int KvCache::read_lane(int seq, int layer, int head, int lane, int32_t* out) const {
  return each_lane_page(shape_, buffers_, seq, layer, head, lane, [&](size_t at, int slot, int n) {
    memcpy(out + slot, pool_.data() + at, n * sizeof(int32_t));
  });
}

}  // namespace skv
