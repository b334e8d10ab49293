/* The generated kernels of one policy alone: a pool of random pages, and one sequence's part of a step at a time. */
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "abi.h"
#include "bench.h"
#include "layout.h"
#include "policy.h"

namespace skv::bench {
namespace {

void parallel(void* self, int32_t items, int32_t near, void (*run)(void*, int32_t, int32_t), void* arg) {
  static_cast<Threads*>(self)->parallel(items, near != 0, run, arg);
}

struct Pool {
  PoolSpec spec;
  const skv_policy* policy;
  skv_shape shape{};
  skv_page_layout layout{};
  std::vector<float> inv_freq;
  std::vector<skv_layer_shape> layer_shapes;
  std::unique_ptr<Block> pages, scratch, logits;
  std::unique_ptr<Block> uncompacted; /* pages as they were before anything left */
  std::vector<int32_t> table, lengths, profiles, budgets, classes;
  std::vector<float> params, q, k, v, out, lse;
  skv_step step{};
  skv_row row{};
  skv_exec exec{};
  int turn = 0, window_first = 0;

  Pool(const PoolSpec& s, Threads& threads) : spec(s), policy(open_policy(s.path)) {
    describe_shape();
    allocate();
    describe_step(threads);
    for (int seq = 0; seq < s.seqs; seq++) fill(seq);
  }

  void describe_shape() {
    const PoolSpec& s = spec;
    inv_freq.resize(s.dim / 2);
    for (int i = 0; i < s.dim / 2; i++) inv_freq[i] = std::pow(1e4f, -2.0f * float(i) / float(s.dim));
    shape.layers = s.layers;
    shape.kv_heads = s.kv_heads;
    shape.group = s.group;
    shape.head_dim = s.dim;
    shape.kv_type = SKV_BF16;
    shape.lanes = policy->lanes;
    layout = skv_layout_of(s.dim, skv_kv_bytes(shape.kv_type), shape.lanes);
    shape.page_bytes = layout.bytes;
    shape.table_stride = (s.slots + s.max_tokens + SKV_PAGE - 1) / SKV_PAGE + 1;
    shape.max_tokens = s.max_tokens;
    shape.max_slots = shape.table_stride * SKV_PAGE;
    shape.max_rows = 1;
    shape.max_seqs = s.seqs;
    shape.io_type = SKV_F32;
    shape.scale = 1 / std::sqrt(float(s.dim));
    skv_layer_shape layer = {};
    layer.inv_freq = inv_freq.data();
    layer_shapes.assign(s.layers, layer);
    shape.layer = layer_shapes.data();
  }

  /* Pages in random order, as an engine has them after a while, and inputs for max_tokens. */
  void allocate() {
    const PoolSpec& s = spec;
    const int heads = s.kv_heads * s.group, tokens = s.max_tokens;
    const size_t columns = size_t(s.seqs) * s.layers * s.kv_heads;
    table.resize(columns * shape.table_stride);
    std::iota(table.begin(), table.end(), 1);
    Random random(11);
    for (size_t i = table.size() - 1; i > 0; i--) std::swap(table[i], table[random.next() % (i + 1)]);
    lengths.assign(columns, 0);
    profiles.assign(columns, 0);
    shape.pages = int32_t(table.size() + 1);
    pages = std::make_unique<Block>((table.size() + 1) * size_t(shape.page_bytes));
    memset(pages->data, 0, shape.page_bytes);
    budgets.assign(size_t(s.seqs) * s.layers, 0);
    params.assign(size_t(s.seqs) * SKV_MAX_PARAMS, 0);
    classes.assign(tokens, 0);
    auto normals = [&](std::vector<float>& to, size_t n) {
      to.resize(n);
      for (auto& value : to) value = random.normal();
    };
    normals(q, size_t(tokens) * heads * s.dim);
    normals(k, size_t(tokens) * s.kv_heads * s.dim);
    normals(v, k.size());
    out.resize(q.size());
    lse.resize(size_t(tokens) * heads);
  }

  void describe_step(Threads& threads) {
    step.abi_version = SKV_ABI_VERSION;
    step.size = sizeof step;
    step.shape = &shape;
    step.rows = 1;
    step.row = &row;
    step.pool = pages->data;
    step.tables = table.data();
    step.lengths = lengths.data();
    step.profiles = profiles.data();
    step.budgets = budgets.data();
    step.params = params.data();
    step.classes = classes.data();
    step.q = q.data();
    step.k = k.data();
    step.v = v.data();
    step.out = out.data();
    step.lse = lse.data();
    logits = std::make_unique<Block>(std::max<size_t>(64, size_t(policy->step_floats(&shape)) * 4));
    memset(logits->data, 0, logits->bytes);
    step.logits = reinterpret_cast<float*>(logits->data);
    exec.workers = threads.count();
    exec.self = &threads;
    exec.parallel = parallel;
    exec.scratch_bytes = (std::max<int64_t>(64, policy->scratch_bytes(&shape)) + 4095) / 4096 * 4096;
    scratch = std::make_unique<Block>(size_t(exec.scratch_bytes) * threads.count());
    exec.scratch = scratch->data;
  }

  void describe_row(int seq, int tokens, int pos0) {
    row = {};
    row.seq = seq;
    row.tokens = tokens;
    row.pos0 = pos0;
    row.prompt = pos0 + tokens;
  }

  void set_length(int seq, int slots) {
    const size_t per = size_t(spec.layers) * spec.kv_heads;
    std::fill_n(lengths.begin() + long(per * seq), per, slots);
  }

  int32_t page_of(int seq, size_t i) const { return table[table.size() / spec.seqs * seq + i]; }

  /* Compacts every layer of a sequence, in so many seconds; its pages are as they were afterwards. */
  double compact(int seq) {
    if (!uncompacted) {
      uncompacted = std::make_unique<Block>(pages->bytes);
      memcpy(uncompacted->data, pages->data, pages->bytes);
    }
    const double before = seconds_now();
    check(policy->compact(&step, &exec));
    const double seconds = seconds_now() - before;
    for (size_t i = 0; i < table.size() / spec.seqs; i++) {
      const size_t at = size_t(page_of(seq, i)) * shape.page_bytes;
      memcpy(pages->data + at, uncompacted->data + at, shape.page_bytes);
    }
    return seconds;
  }

  void check(int32_t code) {
    if (code) throw std::runtime_error(std::string(policy->name) + ": " + policy->error(code));
  }

  /* Every slot through the policy's own append, each chunk with other keys and values; then states above zero. */
  void fill(int seq) {
    Random random(100 + seq);
    for (int pos = 0; pos < spec.slots; pos += spec.max_tokens) {
      describe_row(seq, std::min(spec.max_tokens, spec.slots - pos), pos);
      for (int layer = 0; layer < spec.layers; layer++) {
        const size_t turn = random.next() % (k.size() - 1);
        std::rotate(k.begin(), k.begin() + long(turn), k.end());
        v[turn] = random.normal();
        check(policy->append(&step, layer, &exec));
        if (row.tokens == 1) check(policy->attend(&step, layer, &exec)); /* which stores it */
      }
    }
    for (size_t page = 0; page < table.size() / spec.seqs; page++) {
      uint8_t* at = step.pool + size_t(page_of(seq, page)) * shape.page_bytes;
      auto* lanes = reinterpret_cast<float*>(at + layout.lanes);
      for (int lane = shape.lanes - policy->states; lane < shape.lanes; lane++)
        for (int slot = 0; slot < SKV_PAGE; slot++) lanes[lane * SKV_PAGE + slot] = random.uniform() + 0.01f;
    }
  }
};

std::unique_ptr<Pool> pool;

Pool& opened() {
  if (!pool) throw std::runtime_error("open a policy first");
  return *pool;
}

}  // namespace

void open_pool(const PoolSpec& spec, Threads& threads) {
  pool.reset();
  pool = std::make_unique<Pool>(spec, threads);
}
void close_pool() { pool.reset(); }

void set_params(int first, const std::vector<float>& values) {
  Pool& p = opened();
  p.window_first = first;
  for (int seq = 0; seq < p.spec.seqs; seq++)
    std::copy_n(values.begin(), std::min<size_t>(values.size(), SKV_MAX_PARAMS),
                &p.params[size_t(seq) * SKV_MAX_PARAMS]);
}

/* One sequence, all layers: `slots` live ones, the last `tokens` of them new. `observe` and `last` are attend with
 * queries observed: all new ones, or the last `window`. Sequences take turns, so that the next one's pages are cold.
 * append before attend runs, and its time is left out; of one token attend stores it. */
Answer pass(const std::string& name, int tokens, int slots, int keep, int window, Threads&) {
  Pool& p = opened();
  if (slots > p.spec.slots || tokens > p.spec.max_tokens || tokens > slots)
    throw std::runtime_error("more than the pool was opened for");
  const bool attends = name != "append" && name != "compact", observes = name == "observe" || name == "last";
  std::vector<double> times; /* of each layer, or of compact over all of them; the first run is warm-up */
  int runs = 0;
  for (const double start = seconds_now(); runs < 2 || (seconds_now() - start < 0.1 && runs < 50); runs++) {
    if (runs == 1) times.clear();
    const int seq = p.turn++ % p.spec.seqs;
    p.describe_row(seq, tokens, slots - tokens);
    if (tokens == 1) p.row.prompt = slots - 1; /* a generated token */
    p.set_length(seq, name == "compact" ? slots : slots - tokens);
    p.row.observe0 = p.row.observe1 = slots - tokens;
    if (observes) {
      p.row.observe1 = slots;
      p.row.observe0 = name == "last" ? std::max(slots - tokens, slots - window) : slots - tokens;
    }
    p.row.observe_last = name == "last" ? window : 0;
    if (name == "compact") {
      p.row.compact = 1;
      p.row.window_first = p.window_first;
      p.row.window_last = window;
      std::fill(p.budgets.begin(), p.budgets.end(), keep);
      times.push_back(p.compact(seq));
      continue;
    }
    for (int layer = 0; layer < p.spec.layers; layer++) {
      const double t0 = seconds_now();
      p.check(p.policy->append(&p.step, layer, &p.exec));
      const double t1 = seconds_now();
      if (attends) p.check(p.policy->attend(&p.step, layer, &p.exec));
      times.push_back(attends ? seconds_now() - t1 : t1 - t0);
    }
  }
  return {median(times) * (name == "compact" ? 1 : p.spec.layers), 0, 0};
}

}  // namespace skv::bench
