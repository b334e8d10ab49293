#include "attention.h"

namespace skv {

Attention::Attention(const skv_config& c, const skv_buffers& buffers, const AttentionIo& io, Threads* shared)
    : buffers_(buffers), side_(shared ? nullptr : std::make_unique<SideThread>()) {
  run([&] {
    if (!shared) own_ = std::make_unique<Threads>(c.threads, std::vector<int>(c.cpu, c.cpu + (c.cpu ? c.threads : 0)));
    cache_ = std::make_unique<KvCache>(c, buffers, io, shared ? *shared : *own_);
  });
}

Halves Attention::begin(const skv_step_counts& counts) {
  run([&] {
    cache_->copy_pages(counts.copies);
    cache_->begin(counts.rows);
  });
  const skv_shape& shape = cache_->shape();
  return Halves(counts, buffers_.row, buffers_.length, shape.layers * shape.kv_heads, side_ != nullptr);
}

void Attention::start(const Half& half, int layer, const skv_row* last_rows) {
  const bool last = layer == cache_->shape().layers - 1;
  const skv_row* attended = last ? last_rows : buffers_.row;
  start_work(half.index, [this, half, layer, attended] { cache_->attend(layer, half.row0, half.rows, attended); });
}

void Attention::wait(const Half& half) { wait_for(half.index); }

void Attention::compact() {
  run([&] { cache_->compact(); });
}

}  // namespace skv
