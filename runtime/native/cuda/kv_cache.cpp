#include "kv_cache.h"

#include <algorithm>

#include "lane.h"
#include "shape.h"

namespace skv {
namespace {

constexpr const char* kTarget = "cuda";

/* Slots of the smallest class of steps that one graph serves; each next has twice as many. */
constexpr int kLeastSlots = 64;

}  // namespace

DeviceCache::DeviceCache(Device& device, const skv_config& c, int io_type, const skv_buffers& buffers, DeviceIo& io)
    : device_(device),
      inv_freq_(device, size_t(c.model.ropes) * (c.model.head_dim / 2), "frequencies of kernels"),
      layers_(layer_shapes(c.model, inv_freq_.data())),
      shape_(shape_of(c, lanes_of(c, kTarget), io_type, layers_)),
      buffers_(buffers),
      policies_(kTarget, shape_),
      pool_(device, 0, "pool"),
      row_(device, c.max_rows, "row"),
      last_row_(device, c.max_rows, "last row"),
      table_(device, size_t(c.max_seqs) * heads_of_sequence() * c.table_stride, "tables"),
      length_(device, size_t(c.max_seqs) * heads_of_sequence(), "lengths"),
      profile_(device, size_t(c.max_seqs) * heads_of_sequence(), "profiles"),
      budget_(device, size_t(c.max_seqs) * c.model.layers, "budgets"),
      classes_(device, c.max_tokens, "classes"),
      copy_(device, size_t(c.max_copies) * 2, "pairs"),
      param_(device, size_t(c.max_seqs) * SKV_MAX_PARAMS, "params"),
      scratch_(device, 0, "scratch"),
      step_floats_(device, 0, "logits"),
      slots_(c.max_rows) {
  device.upload(inv_freq_.data(), c.model.inv_freq, inv_freq_.bytes());
  device.wait();
  exec_.workers = device.multiprocessors();
  exec_.stream = device.stream();
  step_.abi_version = SKV_ABI_VERSION;
  step_.size = sizeof step_;
  step_.shape = &shape_;
  step_.row = row_.data();
  step_.tables = table_.data();
  step_.lengths = length_.data();
  step_.profiles = profile_.data();
  step_.budgets = budget_.data();
  step_.params = param_.data();
  step_.classes = classes_.data();
  step_.q = reinterpret_cast<const float*>(io.q.data());
  step_.k = reinterpret_cast<const float*>(io.k.data());
  step_.v = reinterpret_cast<const float*>(io.v.data());
  step_.out = reinterpret_cast<float*>(io.out.data());
  step_.lse = io.lse.data();
  for (int i = 0; i < c.policies; i++) add_policy(c.policy[i]);
}

void DeviceCache::allocate_pool(const skv_config& c, size_t spare) {
  if (c.pool_fraction > 0) {
    const double free = double(device_.free_bytes());
    const double room = std::min(double(c.pool_fraction) * free, free - double(spare));
    shape_.pages = int(std::min(double(c.pages), std::max(2.0, room / double(shape_.page_bytes))));
  }
  pool_.resize(size_t(shape_.pages) * shape_.page_bytes, "pool");
  device_.clear(pool_.data(), pool_.bytes()); /* slots that no token has are weighted with 0, which NaN would survive */
  device_.wait();
  step_.pool = pool_.data();
  read_by_.resize(shape_.pages);
  written_by_.resize(shape_.pages);
  for (int i = 0; i < policies_.count(); i++) try_out(i);
}

/* A library for another architecture opens, and its first launch fails: here, and not in somebody's step. */
void DeviceCache::try_out(int index) {
  const skv_policy& policy = policies_[index];
  const int32_t null_page[2] = {0, 0};
  device_.upload(copy_.data(), null_page, sizeof null_page);
  if (const int32_t code = policy.copy(&step_, copy_.data(), 1, &exec_))
    throw std::runtime_error("the device does not run the kernels of the policy " + std::string(policy.name) + " (" +
                             policy.error(code) + "): build it for " + device_.name());
  device_.wait();
}

int DeviceCache::add_policy(const char* path) {
  const int index = policies_.add(path);
  size_scratch();
  if (pool_.size()) try_out(index);
  return index;
}

void DeviceCache::size_scratch() {
  const size_t bytes = size_t(policies_.scratch_bytes()), floats = size_t(policies_.step_floats());
  if (bytes > scratch_.size()) scratch_.resize(bytes, "scratch");
  if (floats > step_floats_.size()) step_floats_.resize(floats, "logits");
  exec_.scratch = scratch_.data();
  exec_.scratch_bytes = int64_t(scratch_.size());
  step_.logits = step_floats_.data();
}

size_t DeviceCache::most_words(const skv_config& c) {
  const size_t heads = size_t(c.max_seqs) * c.model.layers * c.model.kv_heads;
  return 2 * c.max_rows * sizeof(skv_row) / 4 + heads * (c.table_stride + 1) + size_t(c.max_seqs) * c.model.layers +
         size_t(c.max_seqs) * SKV_MAX_PARAMS + c.max_tokens + size_t(c.max_copies) * 2;
}

size_t DeviceCache::most_puts(const skv_config& c) {
  constexpr size_t kArrays = 9;
  return size_t(c.max_seqs) * c.model.layers * c.model.kv_heads + kArrays;
}

void DeviceCache::put(Outbox& outbox, const skv_step_counts& counts, const skv_row* last_row, int rows) {
  const skv_buffers& b = buffers_;
  const size_t heads = heads_of_sequence();
  /* whole: a policy exposes what its step has of them */
  device_.expose(row_.data(), row_.bytes(), "row");
  device_.expose(last_row_.data(), last_row_.bytes(), "last row");
  device_.expose(copy_.data(), copy_.bytes(), "pairs");
  rows_ = counts.rows;
  step_.rows = rows;
  outbox.put(row_.data(), b.row, counts.rows);
  outbox.put(last_row_.data(), last_row, counts.rows);
  skv_row nobody{};
  nobody.policy = -1;
  const std::vector<skv_row> more(rows - counts.rows, nobody);
  outbox.put(row_.data() + counts.rows, more.data(), more.size());
  outbox.put(last_row_.data() + counts.rows, more.data(), more.size());
  outbox.put(length_.data(), b.length, length_.size());
  outbox.put(budget_.data(), b.budget, budget_.size());
  outbox.put(param_.data(), b.param, param_.size());
  outbox.put(classes_.data(), b.classes, counts.tokens);
  outbox.put(copy_.data(), b.copy, size_t(counts.copies) * 2);
  for (int r = 0; r < counts.rows; r++) {
    const skv_row& row = b.row[r];
    put_tables(outbox, row);
    slots_[r] = *std::max_element(b.length + row.seq * heads, b.length + (row.seq + 1) * heads) + row.tokens;
  }
  count_hints(counts.rows, last_row);
}

/* Entries that the row reads and the device does not have; those behind them count as new when a row reads them. */
void DeviceCache::put_tables(Outbox& outbox, const skv_row& row) {
  const size_t heads = heads_of_sequence();
  for (size_t head = row.seq * heads; head < (row.seq + 1) * heads; head++) {
    const int first = buffers_.changed[head], end = (buffers_.length[head] + row.tokens + SKV_PAGE - 1) / SKV_PAGE;
    if (first >= end) continue;
    const size_t at = head * shape_.table_stride + first;
    outbox.put(table_.data() + at, buffers_.table + at, end - first);
    buffers_.changed[head] = end;
  }
}

/* Pairs may depend on each other (a page freed by one is another's target): those that do go into launches of their
 * own, in order. */
void DeviceCache::copy_pages(int copies) {
  if (copies == 0) return;
  auto launch = [&](int first, int end) {
    const skv_policy& any = policies_[0];
    if (const int32_t code = any.copy(&step_, copy_.data() + 2 * first, end - first, &exec_))
      throw std::runtime_error(std::string("pages could not be copied: ") + any.error(code));
  };
  std::fill(read_by_.begin(), read_by_.end(), -1);
  std::fill(written_by_.begin(), written_by_.end(), -1);
  int first = 0; /* of the pairs that have not been launched */
  for (int i = 0; i < copies; i++) {
    const int from = buffers_.copy[2 * i], to = buffers_.copy[2 * i + 1];
    if (written_by_[from] >= first || written_by_[to] >= first || read_by_[to] >= first) {
      launch(first, i);
      first = i;
    }
    read_by_[from] = i;
    written_by_[to] = i;
  }
  launch(first, copies);
}

/* Of the rows of each policy: the same in every layer, but for the tokens that the last one attends for. */
void DeviceCache::count_hints(int rows, const skv_row* last_row) {
  hints_.assign(policies_.count(), skv_hints{});
  last_tokens_.assign(policies_.count(), 0);
  for (int r = 0; r < rows; r++) {
    const skv_row& row = buffers_.row[r];
    skv_hints& hints = hints_[row.policy];
    hints.slots = std::max(hints.slots, slots_[r]);
    hints.compact_rows += row.compact != 0;
    if (is_generated(row)) {
      hints.decode_rows++;
      continue;
    }
    hints.prompt_tokens = std::max(hints.prompt_tokens, row.tokens);
    hints.observed_tokens = std::max(hints.observed_tokens, row.observe1 - row.observe0);
    last_tokens_[row.policy] = std::max(last_tokens_[row.policy], last_row[r].tokens);
  }
}

void DeviceCache::widen_hints(std::vector<int32_t>* key) {
  for (skv_hints& hints : hints_) {
    int slots = kLeastSlots;
    while (slots < hints.slots) slots *= 2;
    hints.slots = hints.decode_rows ? std::min(slots, shape_.max_slots) : 0;
    hints.decode_rows = hints.decode_rows ? step_.rows : 0;
    hints.compact_rows = hints.compact_rows ? step_.rows : 0;
    key->insert(key->end(), {hints.slots, hints.compact_rows});
  }
}

void DeviceCache::attend(int layer) {
  const bool last = layer == shape_.layers - 1;
  policies_.each(
      buffers_.row, rows_, [](const skv_row&) { return true; }, "failed",
      [&](const skv_policy& policy, int index) {
        step_.self = index;
        step_.row = row_.data();
        step_.hints = hints_[index];
        if (const int32_t code = policy.append(&step_, layer, &exec_)) return code;
        if (last) {
          step_.row = last_row_.data();
          step_.hints.prompt_tokens = last_tokens_[index];
        }
        if (const int32_t code = policy.attend(&step_, layer, &exec_)) return code;
        step_.row = row_.data();
        step_.hints = hints_[index];
        return policy.observe(&step_, layer, &exec_);
      });
}

void DeviceCache::compact() {
  policies_.each(
      buffers_.row, rows_, [](const skv_row& row) { return row.compact != 0; }, "failed to compact",
      [&](const skv_policy& policy, int index) {
        step_.self = index;
        step_.hints = hints_[index];
        return policy.compact(&step_, &exec_);
      });
}

void DeviceCache::download() {
  device_.download(buffers_.length, length_.data(), length_.bytes());
  device_.download(buffers_.profile, profile_.data(), profile_.bytes());
}

int DeviceCache::read_lane(int seq, int layer, int head, int lane, int32_t* out) {
  const int length = each_lane_page(shape_, buffers_, seq, layer, head, lane, [&](size_t at, int slot, int n) {
    device_.download(out + slot, pool_.data() + at, n * sizeof(int32_t));
  });
  device_.wait();
  return length;
}

}  // namespace skv
