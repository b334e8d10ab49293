// Times kernels alone, each beside a plain copy (and torch, where the caller has it), taking turns in one run.
//
// A case owns its memory while it is measured. Every repetition first reads a buffer larger than the caches, untimed,
// so that kernels find memory as they would between other layers. Times are of the device's own clock. A case is told
// on stderr, and the JSON written, as soon as it is measured: whoever is stopped loses one.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>

#include "driver.h"

namespace {

constexpr int kRuns = 25, kProducts = 11;
constexpr int64_t kCopyBytes = int64_t{1} << 30;  // read once and written once
constexpr int64_t kCacheBytes = 256 << 20;        // more than any cache of the device

struct Scale {
  int kv_heads = 8, group = 4, head_dim = 128, layers = 32, runs = kRuns;  // an 8B model's
  int64_t copy_bytes = kCopyBytes, cache_bytes = kCacheBytes;
  int warm_copies = 250;  // about 0.2 s
  int divide = 1;         // contexts, to try the program itself where there is no GPU
};

Scale tiny_scale() {
  Scale scale;
  scale.kv_heads = 2;
  scale.group = 2;
  scale.head_dim = 64;
  scale.layers = 2;
  scale.runs = 3;
  scale.copy_bytes = scale.cache_bytes = 1 << 22;
  scale.warm_copies = 1;
  scale.divide = 64;
  return scale;
}

struct Times {
  std::vector<double> us;
  double at(double q) const {
    std::vector<double> sorted = us;
    std::sort(sorted.begin(), sorted.end());
    return sorted[(size_t)std::llround(q * (sorted.size() - 1))];
  }
  double median() const { return at(0.5); }
};

// One thing to measure.
struct Case {
  std::string kernel, policy;
  int batch = 0, context = 0;
  double bytes = 0, flops = 0;        // that it has to move and to compute
  std::function<void()> reset, work;  // reset is not timed
  std::string peer;                   // what the peer calls the same work; empty: it has none
};

// Random numbers; never zeros, which some hardware is faster with.
std::vector<float> numbers(size_t n, unsigned seed) {
  std::minstd_rand next(seed);
  std::vector<float> out(n);
  for (float& x : out) x = ((float)(next() & 0xffff) + (float)(next() & 0xffff)) / 65536.0f - 1.0f;
  return out;
}

// Sequences of one policy with `context` slots in every head, filled through append itself.
class Filled {
 public:
  // The last `observed` queries are seen by the policy, so that its states are not all the same.
  Filled(const skv_policy* policy, const Scale& scale, int layers, int batch, int context, int room, int tokens,
         int observed = 0) {
    skv_shape s{};
    s.layers = layers;
    s.kv_heads = scale.kv_heads;
    s.group = scale.group;
    s.head_dim = scale.head_dim;
    s.kv_type = s.io_type = SKV_BF16;
    s.max_seqs = batch;
    s.max_slots = context + room;
    s.max_tokens = std::max(tokens, std::min(context, 2048));
    if (Harness::pool_bytes(policy, s) > device::free_bytes() * 9 / 10)
      throw std::runtime_error("it does not fit into the device's memory");
    std::vector<float> inv_freq(scale.head_dim / 2);
    for (size_t i = 0; i < inv_freq.size(); i++) inv_freq[i] = (float)std::pow(10000.0, -2.0 * i / scale.head_dim);
    harness = std::make_unique<Harness>(policy, s, inv_freq);
    const size_t n = (size_t)s.max_tokens * s.kv_heads * s.head_dim;
    harness->inputs(numbers(n * s.group, 1), numbers(n, 2), numbers(n, 3));
    for (int seq = 0; seq < batch; seq++)
      for (int from = 0; from < context; from += s.max_tokens) {
        Step step = empty();
        const int to = std::min(from + s.max_tokens, context), first = std::max(from, context - observed);
        step.rows.push_back(row(seq, to - from, from, context));
        if (first < to) see(&step.rows[0], first, to);
        if (observed < context) step.rows[0].observe_last = observed;
        harness->begin(step);
        for (int layer = 0; layer < layers; layer++) {
          harness->append(layer);
          if (first >= to) continue;
          harness->attend(layer);
          harness->observe(layer);
        }
        harness->read_lengths();
      }
  }
  static skv_row row(int seq, int tokens, int pos0, int prompt) {
    skv_row r{};
    r.seq = seq;
    r.tokens = tokens;
    r.pos0 = pos0;
    r.prompt = prompt;
    return r;
  }
  // The policy sees queries [from, to).
  static void see(skv_row* row, int from, int to) {
    row->observe0 = from;
    row->observe1 = to;
  }
  // Without rows.
  Step empty() const {
    const skv_shape& s = harness->shape();
    Step step;
    step.budgets.resize((size_t)s.max_seqs * s.layers);
    step.classes.resize(s.max_tokens);
    step.params.resize((size_t)s.max_seqs * SKV_MAX_PARAMS);
    return step;
  }
  std::unique_ptr<Harness> harness;
};

using Filling = std::shared_ptr<Filled>;

double slot_bytes(const Scale& s) { return 2.0 * s.head_dim * 2; }  // key and value of a slot, in bf16

// One generated token of every sequence: its attention, the policy's pass after it, or one after the other, as in a
// step.
enum class Pass { attend, observe, both };
Case decode(const skv_policy* policy, const Scale& scale, int batch, int context, Pass pass) {
  Filling f = std::make_shared<Filled>(policy, scale, 1, batch, context, 16, batch);
  Step step = f->empty();
  for (int i = 0; i < batch; i++) {
    step.rows.push_back(Filled::row(i, 1, context, context));
    step.rows[i].token0 = i;
    if (policy->states) Filled::see(&step.rows[i], context, context + 1);
  }
  f->harness->begin(step);
  f->harness->append(0);
  f->harness->attend(0);
  const double slots = (double)batch * (context + 1) * scale.kv_heads;
  const double logits = policy->states ? slots * 4 * scale.group : 0, states = slots * 8.0 * policy->states;
  Case c;
  c.policy = policy->name;
  c.batch = batch;
  c.context = context;
  if (pass == Pass::observe) {
    c.kernel = "accumulate";
    c.bytes = logits + states;
    c.work = [f] { f->harness->observe(0); };
    return c;
  }
  c.flops = slots * 4.0 * scale.head_dim * scale.group;
  if (pass == Pass::both) {
    c.kernel = "attend and accumulate";
    c.bytes = slots * slot_bytes(scale) + 2 * logits + states;
    c.work = [f] {
      f->harness->attend(0);
      f->harness->observe(0);
    };
  } else {
    c.kernel = "attend, decode";
    c.bytes = slots * slot_bytes(scale) + logits;
    c.work = [f] { f->harness->attend(0); };
    c.peer = "decode";
  }
  return c;
}

// A whole prompt; `observe` measures the observer's pass over it instead: all queries, or the last ones.
Case prefill(const skv_policy* policy, const Scale& scale, int tokens, int observed, bool observe) {
  Filling f = std::make_shared<Filled>(policy, scale, 1, 1, 0, tokens, tokens);
  Step step = f->empty();
  step.rows.push_back(Filled::row(0, tokens, 0, tokens));
  Filled::see(&step.rows[0], tokens - observed, tokens);
  step.rows[0].observe_last = observed < tokens ? observed : 0;
  f->harness->begin(step);
  const size_t n = (size_t)tokens * scale.kv_heads * scale.head_dim;
  f->harness->inputs(numbers(n * scale.group, 4), numbers(n, 5), numbers(n, 6));
  f->harness->append(0);
  f->harness->attend(0);
  const double heads = (double)scale.kv_heads * scale.group, t = tokens, o = observed;
  Case c;
  c.policy = policy->name;
  c.batch = 1;
  c.context = tokens;
  if (observe) {
    c.kernel = observed < tokens ? "observe, last " + std::to_string(observed) : "observe, every query";
    c.flops = (o * t - o * (o - 1) / 2) * heads * 2 * scale.head_dim;
    c.work = [f] { f->harness->observe(0); };
  } else {
    c.kernel = "attend, prefill";
    c.flops = t * (t + 1) / 2 * heads * 4 * scale.head_dim;
    c.work = [f] { f->harness->attend(0); };
    c.peer = "prefill";
  }
  return c;
}

// All layers and heads of one sequence, from `context` slots to a quarter; the policy reads all keys `passes` times.
Case compact(const skv_policy* policy, const Scale& scale, int context, int observed, int passes) {
  Filling f = std::make_shared<Filled>(policy, scale, scale.layers, 1, context, 16, 1, observed);
  Step step = f->empty();
  step.rows.push_back(Filled::row(0, 1, context - 1, context));
  step.rows[0].compact = 1;
  step.rows[0].window_last = context / 32;
  std::fill(step.budgets.begin(), step.budgets.end(), context / 4);
  f->harness->begin(step);
  const double heads = (double)scale.layers * scale.kv_heads;
  const std::vector<int32_t> lengths = f->harness->read_lengths();
  auto backup = std::make_shared<device::Array<uint8_t>>(f->harness->pool().bytes());
  device::copy(backup->data(), f->harness->pool().data(), backup->bytes());
  Case c;
  c.kernel = "select-compact";
  c.policy = policy->name;
  c.batch = 1;
  c.context = context;
  // reads the lanes and keys of all, moves what stays: read once, written once
  c.bytes = heads * (context * (4.0 * policy->lanes + passes * slot_bytes(scale) / 2) +
                     context / 4 * 2 * (slot_bytes(scale) + 4.0 * policy->lanes));
  c.reset = [f, backup, lengths] {
    device::copy(f->harness->pool().data(), backup->data(), backup->bytes());
    f->harness->write_lengths(lengths);
  };
  c.work = [f] { f->harness->compact(); };
  return c;
}

struct Measured {
  Case what;
  Times ours, copy, peer;
};

class Bench {
 public:
  Bench(const Scale& scale, Peer peer)
      : scale_(scale), peer_(peer), from_(scale.copy_bytes), to_(scale.copy_bytes), caches_(scale.cache_bytes) {
    device::fill(caches_.data(), 1, caches_.bytes());
    const auto noise = numbers(1 << 20, 9);
    for (size_t at = 0; at + noise.size() * 4 <= from_.bytes(); at += noise.size() * 4)
      device::upload(from_.data() + at, noise.data(), noise.size() * 4);
  }

  // Measures a case; says why on stderr when it cannot be.
  void add(const std::string& label, const std::function<Case()>& make) {
    try {
      Case what = make();
      Measured m{what, {}, {}, {}};
      // the device may have slept while numbers were made: its clocks rise in a fraction of a second
      for (int i = 0; i < scale_.warm_copies; i++) device::copy(to_.data(), from_.data(), from_.bytes());
      for (int run = -3; run < scale_.runs; run++) {  // three to warm up
        if (what.reset) what.reset();
        const double ours = timed(what.work);
        const double copied = timed([&] { device::copy(to_.data(), from_.data(), from_.bytes()); });
        double other = NAN;
        if (peer_ && !what.peer.empty())
          other = peer_(what.peer.c_str(), what.batch, what.context, scale_.kv_heads, scale_.group, scale_.head_dim);
        if (run < 0) continue;
        m.ours.us.push_back(ours);
        m.copy.us.push_back(copied);
        if (other == other) m.peer.us.push_back(other);
      }
      m.what.work = m.what.reset = nullptr;  // lets go of the memory
      fprintf(stderr, "%s: %.1f µs\n", label.c_str(), m.ours.median());
      results.push_back(std::move(m));
    } catch (const std::exception& error) {
      fprintf(stderr, "not measured: %s: %s\n", label.c_str(), error.what());
      left_out.push_back(label + ": " + error.what());
    }
  }
  std::vector<Measured> results;
  std::vector<std::string> left_out;
  double copy_bytes() const { return 2.0 * from_.bytes(); }

 private:
  double timed(const std::function<void()>& work) {
    device::evict(caches_.data(), caches_.bytes());
    clock_.start();
    work();
    return clock_.stop();
  }
  const Scale scale_;
  const Peer peer_;
  device::Array<uint8_t> from_, to_, caches_;
  device::Clock clock_;
};

std::string number(double x, int digits) {
  char text[32];
  snprintf(text, sizeof text, "%.*f", digits, x);
  return text;
}

// What the table says in one number: medians of the same sizes, one over the other.
void print_ratios(const std::vector<Measured>& results) {
  auto find = [&](const std::string& kernel, const char* policy, const Measured& like) -> const Measured* {
    for (const Measured& m : results)
      if (m.what.kernel == kernel && m.what.policy == policy && m.what.batch == like.what.batch &&
          m.what.context == like.what.context)
        return &m;
    return nullptr;
  };
  for (const Measured& m : results) {
    const double us = m.ours.median();
    const std::string at = std::to_string(m.what.batch) + " × " + std::to_string(m.what.context);
    if (m.what.kernel == "attend, decode" && m.what.policy == "h2o")
      if (const Measured* none = find(m.what.kernel, "none", m)) {
        const Measured* both = find("attend and accumulate", "h2o", m);
        printf("h2o beside none, decode, %s: %+.1f %%", at.c_str(), 100 * (us / none->ours.median() - 1));
        if (both) printf("; with accumulate %+.1f %%", 100 * (both->ours.median() / none->ours.median() - 1));
        printf("\n");
      }
    if (m.what.kernel.rfind("observe", 0) == 0)
      if (const Measured* prefill = find("attend, prefill", "none", m))
        printf("%s, of prefill attention, %s: %.1f %%\n", m.what.kernel.c_str(), at.c_str(),
               100 * us / prefill->ours.median());
    if (m.what.kernel == "select-compact")
      if (const Measured* step = find("attend, decode", "none", m))
        printf("select-compact of %s over decode attention of one layer, %s: %.1f\n", m.what.policy.c_str(), at.c_str(),
               us / step->ours.median());
  }
}

// GB/s of the plain copies of these cases together, read and written.
double copied(const Bench& bench, const std::vector<Measured>& results) {
  Times copies;
  for (const Measured& m : results) copies.us.insert(copies.us.end(), m.copy.us.begin(), m.copy.us.end());
  return copies.us.empty() ? NAN : bench.copy_bytes() / copies.median() / 1e3;
}

void print(const Bench& bench, const std::string& device, double matmul) {
  printf(
      "%s; medians, n = %zu, times in µs with [least, most]; the copy and torch are of the same run, taking turns\n\n",
      device.c_str(), bench.results.empty() ? 0 : bench.results[0].ours.us.size());
  printf(
      "| kernel | policy | batch × context | µs | GB/s | %% of copy | TFLOP/s | torch µs | torch / ours "
      "|\n|---|---|---|---|---|---|---|---|---|\n");
  for (const Measured& m : bench.results) {
    const double us = m.ours.median(), rate = m.what.bytes / us / 1e3, copy = copied(bench, {m});
    const bool peer = !m.peer.us.empty();
    printf("| %s | %s | %d × %d | %.1f [%.1f, %.1f] | %s | %s | %s | %s | %s |\n", m.what.kernel.c_str(),
           m.what.policy.c_str(), m.what.batch, m.what.context, us, m.ours.at(0), m.ours.at(1),
           m.what.bytes ? number(rate, 0).c_str() : "–", m.what.bytes ? number(100 * rate / copy, 1).c_str() : "–",
           m.what.flops ? number(m.what.flops / us / 1e6, 1).c_str() : "–",
           peer ? number(m.peer.median(), 1).c_str() : "–", peer ? number(m.peer.median() / us, 2).c_str() : "–");
  }
  printf("\n");
  print_ratios(bench.results);
  const double copy = copied(bench, bench.results);
  if (copy == copy)
    printf("\ncopy of %.0f MiB: %.0f GB/s read and written (n = %zu)\n", bench.copy_bytes() / 2 / (1 << 20), copy,
           bench.results.size() * bench.results[0].copy.us.size());
  if (matmul == matmul)
    printf("matrix product of torch, bf16, 8192³: %.0f TFLOP/s (n = %d)\n", matmul, kProducts);
  else
    printf("matrix product: not measured (it needs torch)\n");
  for (const std::string& each : bench.left_out) printf("not measured: %s\n", each.c_str());
}

void write_json(const Bench& bench, const std::string& device, double matmul, const std::string& path) {
  FILE* json = fopen(path.c_str(), "w");
  if (!json) throw std::runtime_error(path + " cannot be written");
  auto or_null = [](double x, int digits) { return x == x ? number(x, digits) : "null"; };
  fprintf(json, "{\"device\": \"%s\", \"copyGBs\": %s, \"matmulTFLOPs\": %s, \"results\": [", device.c_str(),
          or_null(copied(bench, bench.results), 1).c_str(), or_null(matmul, 1).c_str());
  const char* before = "\n  ";
  for (const Measured& m : bench.results) {
    fprintf(json,
            "%s{\"kernel\": \"%s\", \"policy\": \"%s\", \"batch\": %d, \"context\": %d, \"n\": %zu, \"us\": %.2f, "
            "\"least\": %.2f, \"most\": %.2f, \"bytes\": %.0f, \"flops\": %.0f, \"copyGBs\": %.1f, \"torchUs\": %s}",
            before, m.what.kernel.c_str(), m.what.policy.c_str(), m.what.batch, m.what.context, m.ours.us.size(),
            m.ours.median(), m.ours.at(0), m.ours.at(1), m.what.bytes, m.what.flops, copied(bench, {m}),
            or_null(m.peer.us.empty() ? NAN : m.peer.median(), 2).c_str());
    before = ",\n  ";
  }
  fprintf(json, "\n], \"notMeasured\": [");
  before = "";
  for (const std::string& each : bench.left_out) {
    fprintf(json, "%s\"%s\"", before, each.c_str());
    before = ", ";
  }
  fprintf(json, "]}\n");
  if (fclose(json) != 0) throw std::runtime_error(path + " cannot be written whole");
}

// TFLOP/s of the peer's matrix product; NaN where there is none.
double matmul_rate(Peer peer) {
  Times products;
  for (int run = -3; peer && run < kProducts; run++) {
    const double us = peer("matmul", 8192, 0, 0, 0, 0);
    if (run >= 0 && us == us) products.us.push_back(us);
  }
  return products.us.empty() ? NAN : 2.0 * 8192 * 8192 * 8192 / products.median() / 1e6;
}

}  // namespace

int bench_kernels(const std::string& folder, const std::string& json_path, bool tiny, Peer peer) {
  const std::string device = device::describe();
  const Scale scale = tiny ? tiny_scale() : Scale();
  auto policy = [&](const char* name) { return open_policy(folder + "/" + name + "/policy.so"); };
  const skv_policy *none = policy("none"), *h2o = policy("h2o"), *snapkv = policy("snapkv");
  const double matmul = matmul_rate(peer);
  Bench bench(scale, peer);
  const auto add = [&](const std::string& label, const std::function<Case()>& make) {
    bench.add(label, make);
    if (!json_path.empty()) write_json(bench, device, matmul, json_path);
  };
  for (const auto& [batch, context] :
       {std::pair{1, 8192}, {8, 8192}, {64, 8192}, {1, 32768}, {16, 32768}, {64, 2048}}) {
    const int n = context / scale.divide, b = tiny ? std::min(batch, 2) : batch;
    const std::string at = std::to_string(b) + " × " + std::to_string(n);
    add("decode of none, " + at, [&] { return decode(none, scale, b, n, Pass::attend); });
    add("decode of h2o, " + at, [&] { return decode(h2o, scale, b, n, Pass::attend); });
    add("accumulate of h2o, " + at, [&] { return decode(h2o, scale, b, n, Pass::observe); });
    add("decode of h2o and accumulate, " + at, [&] { return decode(h2o, scale, b, n, Pass::both); });
  }
  const int n = 8192 / scale.divide;
  add("select-compact of h2o", [&] { return compact(h2o, scale, n, n, 0); });
  add("select-compact of snapkv", [&] { return compact(snapkv, scale, n, std::min(32, n / 2), 0); });
  add("select-compact of keydiff", [&] { return compact(policy("keydiff"), scale, n, 0, 2); });
  for (int context : {2048, 8192}) {
    const int n = context / scale.divide, last = std::min(32, n / 2);
    const std::string at = std::to_string(n);
    add("prefill of none, " + at, [&] { return prefill(none, scale, n, 0, false); });
    add("observer of snapkv, " + at, [&] { return prefill(snapkv, scale, n, last, true); });
    add("observer of h2o, " + at, [&] { return prefill(h2o, scale, n, n, true); });
  }
  print(bench, device, matmul);
  return bench.left_out.empty() ? 0 : 1;
}
