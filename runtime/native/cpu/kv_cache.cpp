#include "kv_cache.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "layout.h"
#include "shape.h"

namespace skv {
namespace {

constexpr const char* kTarget = "cpu";

void run_parallel(void* self, int32_t items, int32_t near, void (*run)(void*, int32_t, int32_t), void* arg) {
  static_cast<Threads*>(self)->parallel(items, near != 0, run, arg);
}

}  // namespace

KvCache::KvCache(const skv_config& c, const skv_buffers& buffers, AttentionIo& io, Threads& threads)
    : inv_freq_(c.model.inv_freq, c.model.inv_freq + size_t(c.model.ropes) * (c.model.head_dim / 2)),
      layers_(layer_shapes(c.model, inv_freq_.data())),
      shape_(shape_of(c, lanes_of(c, kTarget), SKV_F32, layers_)),
      buffers_(buffers),
      io_(io),
      threads_(threads),
      pool_(size_t(shape_.pages) * shape_.page_bytes),
      policies_(kTarget, shape_) {
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
  int64_t bytes = 64, floats = 16;
  for (int i = 0; i < policies_.count(); i++) {
    bytes = std::max(bytes, policies_[i].scratch_bytes(&shape_));
    floats = std::max(floats, policies_[i].step_floats(&shape_));
  }
  bytes = (bytes + 4095) / 4096 * 4096; /* no two workers on one page of the system */
  if (bytes > exec_.scratch_bytes) {
    scratch_.resize(size_t(bytes) * threads_.count());
    exec_.scratch = scratch_.data();
    exec_.scratch_bytes = bytes;
  }
  if (size_t(floats) > step_floats_.size()) step_floats_.resize(size_t(floats));
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
  step_.rows = rows;
  step_.row = buffers_.row;
  step_.pool = pool_.data();
  step_.tables = buffers_.table;
  step_.lengths = buffers_.length;
  step_.budgets = buffers_.budget;
  step_.params = buffers_.param;
  step_.classes = buffers_.classes;
  step_.q = io_.q.data();
  step_.k = io_.k.data();
  step_.v = io_.v.data();
  step_.out = io_.out.data();
  step_.lse = io_.lse.data();
  step_.logits = step_floats_.data();
}

void KvCache::attend(int layer, const skv_row* attended) {
  policies_.each(
      buffers_.row, step_.rows, [](const skv_row&) { return true; }, "failed",
      [&](const skv_policy& policy, int index) {
        step_.self = index;
        step_.row = buffers_.row;
        if (const int32_t code = policy.append(&step_, layer, &exec_)) return code;
        step_.row = attended;
        if (const int32_t code = policy.attend(&step_, layer, &exec_)) return code;
        return policy.observe ? policy.observe(&step_, layer, &exec_) : 0;
      });
}

void KvCache::compact() {
  step_.row = buffers_.row;
  policies_.each(
      buffers_.row, step_.rows, [](const skv_row& row) { return row.compact != 0; }, "failed to compact",
      [&](const skv_policy& policy, int index) {
        step_.self = index;
        return policy.compact(&step_, &exec_);
      });
}

int KvCache::read_lane(int seq, int layer, int head, int lane, int32_t* out) const {
  if (seq < 0 || seq >= shape_.max_seqs || layer < 0 || layer >= shape_.layers || head < 0 || head >= shape_.kv_heads ||
      lane < 0 || lane >= shape_.lanes)
    return -1;
  const size_t index = (size_t(seq) * shape_.layers + layer) * shape_.kv_heads + head;
  const int length = buffers_.length[index];
  const skv_page_layout layout = skv_layout_of(shape_.head_dim, skv_kv_bytes(shape_.kv_type), shape_.lanes);
  for (int s = 0; s < length; s++) {
    const int page = buffers_.table[index * shape_.table_stride + s / SKV_PAGE];
    const uint8_t* lanes = pool_.data() + size_t(page) * layout.bytes + layout.lanes; /* [lane][slot] */
    memcpy(out + s, lanes + (lane * SKV_PAGE + s % SKV_PAGE) * sizeof(int32_t), sizeof(int32_t));
  }
  return length;
}

}  // namespace skv
