// Drives one policy library through append, attend, observe and compact on a problem read from stdin (problem.h),
// without a model and without an engine; the answer goes to stdout.
//
// A CUDA library compiled against the emulation is driven the same way: its device memory is the host's.
//
// Items run in an order that depends on `workers`, each worker with scratch of its own full of noise: nothing may
// depend on either. `repeat` > 1 times the attend of each step on threads and reports microseconds on stderr.
#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "problem.h"

namespace {

// How a pass hands out its items.
struct Order {
  int workers = 1;
  bool threaded = false;
  bool backwards = false;  // from the last item to the first: nothing but observing may depend on their order
};
Order order;

void parallel(void*, int32_t items, int32_t, void (*run)(void*, int32_t, int32_t), void* arg) {
  if (!order.threaded) {
    for (int i = 0; i < items; i++) run(arg, order.backwards ? items - 1 - i : i, i % order.workers);
    return;
  }
  std::vector<std::thread> threads;
  for (int w = 0; w < order.workers; w++)
    threads.emplace_back([=] {
      for (int i = w; i < items; i += order.workers) run(arg, i, w);
    });
  for (auto& thread : threads) thread.join();
}

// Full of NaN: whatever is read unwritten shows.
uint8_t* aligned(size_t bytes) {
  const size_t whole = (bytes + 63) / 64 * 64;
  auto* p = (uint8_t*)aligned_alloc(64, whole);
  memset(p, 0xff, whole);
  return p;
}

template <class T>
void put(const std::vector<T>& v) {
  fwrite(v.data(), sizeof(T), v.size(), stdout);
}

class Driver {
 public:
  Driver(const skv_policy* policy, const Problem& problem)
      : policy_(policy), shape_(problem.shape), cuda_(!strcmp(policy->target, "cuda")), repeat_(problem.repeat) {
    order.workers = problem.workers;
    order.threaded = repeat_ > 1;
    shape_.max_rows = std::max(8, shape_.max_seqs);
    shape_ = complete(policy, shape_);
    layers_ = layers_of(shape_, problem.window, problem.inv_freq.data());
    shape_.layer = layers_.data();
    step_.abi_version = SKV_ABI_VERSION;
    step_.size = sizeof step_;
    step_.shape = &shape_;
    exec_.workers = order.workers;
    exec_.parallel = parallel;
    if (const int32_t refused = policy->accepts(&shape_)) refuse(refused);
    table_ = scattered_tables(shape_);
    lengths_.assign(table_.size() / shape_.table_stride, 0);
    profiles_.assign(lengths_.size(), -1);
    step_.pool = aligned((size_t)shape_.pages * shape_.page_bytes);
    step_.tables = table_.data();
    step_.lengths = lengths_.data();
    step_.profiles = profiles_.data();
    step_.logits = (float*)aligned(policy->step_floats(&shape_) * 4);
    exec_.scratch_bytes = (policy->scratch_bytes(&shape_) + 63) / 64 * 64;
    exec_.scratch = aligned(exec_.scratch_bytes * (cuda_ ? 1 : order.workers));
  }

  void run_step(Words* words) {
    const Step step(words, shape_);
    step_.rows = (int32_t)step.rows.size();
    step_.row = step.rows.data();
    step_.budgets = step.budgets.data();
    step_.classes = step.classes.data();
    step_.params = step.params.data();
    for (const skv_row& row : step.rows) leave_window(row);
    for (int layer = 0; layer < shape_.layers; layer++)
      run_layer(layer, step, LayerInput(words, shape_, step.tokens()));
    order.backwards = order.workers > 1;
    if (step.compacts()) check(policy_->compact(&step_, &exec_));
    put(lengths_);
  }

  void copy(Words* words) {
    const int from = read_head(words, shape_), to = read_head(words, shape_);
    const std::vector<int32_t> pair = {table_[from * shape_.table_stride], table_[to * shape_.table_stride]};
    check(policy_->copy(&step_, pair.data(), 1, &exec_));
    lengths_[to] = lengths_[from];
  }

  void read(Words* words) {
    const int head = read_head(words, shape_), live = lengths_[head], dim = shape_.head_dim;
    const skv_page_layout layout = skv_layout_of(dim, skv_kv_bytes(shape_.kv_type), shape_.lanes);
    std::vector<int32_t> lanes((size_t)shape_.lanes * live);
    std::vector<float> keys((size_t)live * dim), values(keys);
    for (int s = 0; s < live; s++) {
      const int32_t number = table_[head * shape_.table_stride + s / SKV_PAGE];
      const uint8_t* page = step_.pool + (size_t)number * shape_.page_bytes;
      const int slot = s % SKV_PAGE;
      for (int l = 0; l < shape_.lanes; l++)
        lanes[(size_t)l * live + s] = ((const int32_t*)(page + layout.lanes))[l * SKV_PAGE + slot];
      for (int d = 0; d < dim; d++) {
        keys[(size_t)s * dim + d] = number_at(page + layout.keys, key_element(slot, d));
        values[(size_t)s * dim + d] = number_at(page + layout.values, value_element(slot, d));
      }
    }
    put(std::vector<int32_t>{live});
    put(lanes);
    put(keys);
    put(values);
  }

 private:
  // Pages that a row's first query does not see any more go to the ends of their tables.
  void leave_window(const skv_row& row) {
    for (int layer = 0; layer < shape_.layers; layer++)
      for (int h = 0; h < shape_.kv_heads && layers_[layer].window; h++) {
        const int head = (row.seq * shape_.layers + layer) * shape_.kv_heads + h;
        const int first = std::max(0, row.pos0 + 1 - layers_[layer].window), gone = row.pos0 - lengths_[head];
        const int pages = (first - gone) / SKV_PAGE;
        auto table = table_.begin() + (ptrdiff_t)head * shape_.table_stride;
        std::rotate(table, table + pages, table + shape_.table_stride);
        lengths_[head] -= pages * SKV_PAGE;
      }
  }
  // Ends the program. Every pass must refuse a shape as `accepts` does.
  [[noreturn]] void refuse(int32_t refused) {
    const int32_t codes[] = {policy_->append(&step_, 0, &exec_), policy_->attend(&step_, 0, &exec_),
                             policy_->compact(&step_, &exec_)};
    for (const int32_t code : codes)
      if (code != refused) {
        fprintf(stderr, "a pass says %d, accepts %d\n", code, refused);
        exit(4);
      }
    check(refused);
    abort();
  }
  void check(int32_t code) {
    if (code == 0) return;
    fprintf(stderr, "code %d: %s\n", code, policy_->error(code));
    exit(3);
  }

  void run_layer(int layer, const Step& step, const LayerInput& input) {
    const int type = shape_.io_type, heads = shape_.kv_heads * shape_.group;
    const auto q = encode(input.q.data(), input.q.size(), type), k = encode(input.k.data(), input.k.size(), type),
               v = encode(input.v.data(), input.v.size(), type);
    const std::vector<float> nothing(input.q.size(), NAN);
    std::vector<uint8_t> out = encode(nothing.data(), nothing.size(), type);
    std::vector<float> lse((size_t)step.tokens() * heads, NAN);
    if (cuda_) shape_.max_tokens = step.tokens();  // the arrays' true sizes, for the emulation's checks
    step_.hints = hints_of(step.rows, shape_, lengths_);
    step_.q = (const float*)q.data();
    step_.k = (const float*)k.data();
    step_.v = (const float*)v.data();
    step_.out = (float*)out.data();
    step_.lse = lse.data();
    order.backwards = order.workers > 1;
    check(policy_->append(&step_, layer, &exec_));
    order.backwards = order.workers > 1 && !step.observes();
    check(policy_->attend(&step_, layer, &exec_));
    if (repeat_ > 1) time_attend(layer, step.tokens());
    if (policy_->observe) check(policy_->observe(&step_, layer, &exec_));
    put(decode(out.data(), nothing.size(), type));
    put(lse);
  }

  void time_attend(int layer, int tokens) {
    std::vector<double> times;
    for (int i = 0; i < repeat_; i++) {
      const auto start = std::chrono::steady_clock::now();
      policy_->attend(&step_, layer, &exec_);
      times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::nth_element(times.begin(), times.begin() + repeat_ / 2, times.end());
    fprintf(stderr, "attend %d tokens, %d slots: %.1f us\n", tokens, lengths_[0], times[repeat_ / 2] * 1e6);
  }

  // Where dim d of a slot lies among a page's keys, or values: templates/cpu/layout.hpp, templates/cuda/layout.cuh.
  int key_element(int slot, int d) const {
    if (cuda_) return slot * shape_.head_dim + d;
    return shape_.kv_type == SKV_F32 ? d * SKV_PAGE + slot : d / 2 * 2 * SKV_PAGE + slot * 2 + d % 2;
  }
  int value_element(int slot, int d) const {
    if (cuda_ || shape_.kv_type == SKV_F32) return slot * shape_.head_dim + d;
    return 2 * (slot / 2 * shape_.head_dim + d) + slot % 2;
  }
  float number_at(const uint8_t* field, int element) const {
    return decode(field + element * skv_kv_bytes(shape_.kv_type), 1, shape_.kv_type)[0];
  }

  const skv_policy* policy_;
  skv_shape shape_;
  bool cuda_;
  int repeat_;
  skv_step step_ = {};
  skv_exec exec_ = {};
  std::vector<skv_layer_shape> layers_;
  std::vector<int32_t> table_, lengths_, profiles_;  // [head][page], [head], [head]: heads by seq, layer, KV head
};

}  // namespace

int main(int, char** argv) {
  std::vector<char> bytes;
  char chunk[1 << 16];
  for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;) bytes.insert(bytes.end(), chunk, chunk + n);
  void* handle = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    fprintf(stderr, "%s\n", dlerror());
    return 2;
  }
  try {
    Words words("the problem", std::move(bytes));
    const Problem problem(&words);
    Driver driver(((skv_policy_entry_fn)dlsym(handle, SKV_POLICY_ENTRY))(), problem);
    for (int ops = problem.ops; ops > 0; ops--) {
      const int op = words.word();
      if (op == kStep) driver.run_step(&words);
      if (op == kCopy) driver.copy(&words);
      if (op == kRead) driver.read(&words);
    }
  } catch (const std::exception& error) {
    fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return 0;
}
