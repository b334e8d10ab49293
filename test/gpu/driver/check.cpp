// Holds a policy against test vectors (test/gpu/vectors.ts has the format), and attention against a peer where there is
// one.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <tuple>

#include "driver.h"

namespace {

// A file of words, read from front to back.
class Words {
 public:
  explicit Words(const std::string& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (!file && bytes_.empty()) throw std::runtime_error(path + " cannot be read");
  }
  const char* take(size_t bytes) {
    if (at_ + bytes > bytes_.size()) throw std::runtime_error(path_ + " ends early");
    at_ += bytes;
    return bytes_.data() + at_ - bytes;
  }
  template <class T>
  T one() {
    T value;
    memcpy(&value, take(sizeof(T)), sizeof(T));
    return value;
  }
  int32_t word() { return one<int32_t>(); }
  template <class T>
  std::vector<T> list(size_t n) {
    std::vector<T> out(n);
    if (n) memcpy(out.data(), take(n * sizeof(T)), n * sizeof(T));
    return out;
  }
  Words at(size_t from) const {
    Words other = *this;
    other.at_ = from;
    return other;
  }
  size_t position() const { return at_; }
  bool ended() const { return at_ == bytes_.size(); }

 private:
  std::string path_;
  std::vector<char> bytes_;
  size_t at_ = 0;
};

// The largest difference seen of each kind, beside what is allowed.
struct Verdict {
  double out = 0, lse = 0, states = 0;
  std::string wrong;  // the first thing that is not as expected

  void fail(const std::string& what) {
    if (wrong.empty()) wrong = what;
  }
  void close(double* worst, const char* what, const std::vector<float>& found, const std::vector<float>& wanted,
             double tolerance) {
    for (size_t i = 0; i < wanted.size(); i++) {
      const double off = std::fabs((double)found[i] - wanted[i]) / std::max(1.0, std::fabs((double)wanted[i]));
      if (off == off) *worst = std::max(*worst, off);
      if (!(off <= tolerance)) {
        char text[160];
        snprintf(text, sizeof text, "%s[%zu] is %g, expected %g", what, i, found[i], wanted[i]);
        return fail(text);
      }
    }
  }
};

// One head as the vector has it, in the order of positions.
Slots expected(Words* words, const skv_shape& s) {
  const int live = words->word();
  std::vector<std::vector<int32_t>> lanes;
  for (int l = 0; l < s.lanes; l++) lanes.push_back(words->list<int32_t>(live));
  const auto keys = words->list<float>((size_t)live * s.head_dim),
             values = words->list<float>((size_t)live * s.head_dim);
  std::vector<int> order(live);
  for (int i = 0; i < live; i++) order[i] = i;
  std::sort(order.begin(), order.end(), [&](int a, int b) { return lanes[0][a] < lanes[0][b]; });
  Slots out{std::vector<std::vector<int32_t>>(s.lanes), {}, {}};
  for (int slot : order) {
    for (int l = 0; l < s.lanes; l++) out.lanes[l].push_back(lanes[l][slot]);
    for (int d = 0; d < s.head_dim; d++) {
      out.keys.push_back(keys[(size_t)slot * s.head_dim + d]);
      out.values.push_back(values[(size_t)slot * s.head_dim + d]);
    }
  }
  return out;
}

std::vector<float> floats(const std::vector<int32_t>& words) {
  std::vector<float> out(words.size());
  if (!words.empty()) memcpy(out.data(), words.data(), words.size() * 4);
  return out;
}

// Lanes that are not states are whole numbers: position, shift, class.
void compare(Verdict* verdict, const Slots& found, const Slots& wanted, int states, double tolerance) {
  const int first_state = (int)wanted.lanes.size() - states;
  for (int l = 0; l < (int)wanted.lanes.size(); l++) {
    if (l >= first_state)
      verdict->close(&verdict->states, "a state", floats(found.lanes[l]), floats(wanted.lanes[l]), tolerance);
    else if (found.lanes[l] != wanted.lanes[l])
      return verdict->fail(l ? "a lane of kept slots differs" : "other slots were kept");
  }
  if (found.keys != wanted.keys || found.values != wanted.values) verdict->fail("a kept slot has another key or value");
}

Verdict run(const skv_policy* policy, const std::string& path) {
  Words problem(path);
  if (std::string(problem.take(4), 4) != "SKVV" || problem.word() != 1)
    throw std::runtime_error(path + " is no test vector of this version");
  skv_shape shape{};
  const double out_tolerance = problem.one<float>(), lse_tolerance = problem.one<float>(),
               state_tolerance = problem.one<float>();
  const int problem_bytes = problem.word();
  Words answer = problem.at(problem.position() + problem_bytes);

  shape.kv_type = problem.word(), shape.io_type = problem.word(), shape.layers = problem.word(),
  shape.kv_heads = problem.word(), shape.group = problem.word();
  shape.head_dim = problem.word(), shape.max_tokens = problem.word(), shape.max_slots = problem.word();
  shape.rope_interleaved = problem.word(), shape.max_seqs = problem.word();
  problem.word(), problem.word();  // workers, repeat
  int ops = problem.word();
  Harness harness(policy, shape, problem.list<float>(shape.head_dim / 2));
  const skv_shape& s = harness.shape();
  const size_t heads = (size_t)s.kv_heads * s.group;
  Verdict verdict;
  while (ops-- > 0) {
    if (problem.word() == 1) {
      const int rows = problem.word(), tokens = problem.word();
      Step step{problem.list<skv_row>(rows), problem.list<int32_t>((size_t)s.max_seqs * s.layers),
                problem.list<int32_t>(tokens), problem.list<float>((size_t)s.max_seqs * SKV_MAX_PARAMS)};
      harness.begin(step);
      for (int layer = 0; layer < s.layers; layer++) {
        const auto q = problem.list<float>(tokens * heads * s.head_dim),
                   k = problem.list<float>((size_t)tokens * s.kv_heads * s.head_dim),
                   v = problem.list<float>((size_t)tokens * s.kv_heads * s.head_dim);
        harness.inputs(q, k, v);
        harness.append(layer), harness.attend(layer), harness.observe(layer);
        verdict.close(&verdict.out, "out", harness.out(tokens), answer.list<float>(tokens * heads * s.head_dim),
                      out_tolerance);
        verdict.close(&verdict.lse, "lse", harness.lse(tokens), answer.list<float>(tokens * heads), lse_tolerance);
      }
      if (std::any_of(step.rows.begin(), step.rows.end(), [](const skv_row& row) { return row.compact; }))
        harness.compact();
      const auto lengths = answer.list<int32_t>((size_t)s.max_seqs * s.layers * s.kv_heads);
      if (harness.read_lengths() != lengths) {
        verdict.fail("other numbers of live slots");
        return verdict;  // nothing after it can agree
      }
      continue;
    }
    const int seq = problem.word(), layer = problem.word(), head = problem.word();
    const Slots wanted = expected(&answer, s);
    compare(&verdict, harness.read(seq, layer, head), wanted, policy->states, state_tolerance);
  }
  if (!answer.ended()) throw std::runtime_error(path + " has more answers than the problem");
  return verdict;
}

}  // namespace

int check_vectors(const std::string& library, const std::vector<std::string>& paths) {
  const skv_policy* policy = open_policy(library);
  int failed = 0;
  for (const std::string& path : paths) {
    const std::string name = path.substr(path.rfind('/') + 1);
    Verdict v;
    try {
      v = run(policy, path);
    } catch (const std::exception& error) {
      v.fail(error.what());
    }
    printf("%s %-40s out %.1e  lse %.1e  states %.1e%s%s\n", v.wrong.empty() ? "ok  " : "FAIL", name.c_str(), v.out,
           v.lse, v.states, v.wrong.empty() ? "" : "  ", v.wrong.c_str());
    failed += !v.wrong.empty();
  }
  fflush(stdout);
  return failed;
}

namespace {

// Causal attention of the last queries in doubles, one key after another.
double plain(int queries, int tokens, int kv_heads, int group, int dim, const float* q, const float* k, const float* v,
             const float* out, const float* lse) {
  double worst = 0;
  const auto note = [&](double off) {
    if (worst == worst && !(off <= worst)) worst = off;  // NaN stays
  };
  for (int i = 0; i < queries; i++)
    for (int h = 0; h < kv_heads * group; h++) {
      const int sees = tokens - queries + i + 1;
      const size_t row = (size_t)i * kv_heads * group + h;
      auto vector = [&](const float* from, int t) { return from + ((size_t)t * kv_heads + h / group) * dim; };
      std::vector<double> x(sees), sum(dim);
      for (int t = 0; t < sees; t++) {
        double dot = 0;
        for (int d = 0; d < dim; d++) dot += (double)q[row * dim + d] * vector(k, t)[d];
        x[t] = dot / std::sqrt((double)dim);
      }
      const double top = *std::max_element(x.begin(), x.end());
      double total = 0;
      for (int t = 0; t < sees; t++) {
        const double p = std::exp(x[t] - top);
        total += p;
        for (int d = 0; d < dim; d++) sum[d] += p * vector(v, t)[d];
      }
      for (int d = 0; d < dim; d++) note(std::fabs(sum[d] / total - out[row * dim + d]));
      note(std::fabs(top + std::log(total) - lse[row]));
    }
  return worst;
}

}  // namespace

int check_attention(const std::string& library, bool tiny, Judge judge) {
  const skv_policy* policy = open_policy(library);
  int failed = 0;
  // the longest one's generated token meets splits of more than 256 slots
  std::vector<std::tuple<int, int, int, int>> shapes{{128, 8, 4, 1500}, {64, 3, 3, 700},   {64, 2, 1, 301},
                                                     {128, 8, 4, 8300}, {128, 2, 16, 600}, {64, 1, 20, 520}};
  if (tiny) shapes = {{128, 1, 4, 150}, {64, 2, 3, 70}, {64, 1, 20, 270}};
  for (const int type : {SKV_BF16, SKV_F16})
    for (const auto& [dim, kv_heads, group, prompt] : shapes) {
      skv_shape s{};
      s.layers = 1, s.kv_heads = kv_heads, s.group = group, s.head_dim = dim, s.kv_type = type, s.io_type = SKV_F32;
      s.max_tokens = prompt, s.max_slots = prompt + 1, s.max_seqs = 1;
      if (policy->accepts(&s)) continue;
      // attention alone: cached keys must not turn
      Harness harness(policy, s, std::vector<float>(dim / 2));
      std::minstd_rand next(dim);
      // exact in the type, so that the judge sees what the kernels see
      auto numbers = [&, type = type](size_t n, float scale) {
        std::vector<float> x(n);
        for (float& each : x) each = scale * ((float)((next() & 0xffff) + (next() & 0xffff)) / 32768.0f - 2.0f);
        return decode(encode(x.data(), n, type).data(), n, type);
      };
      const size_t kv_row = (size_t)kv_heads * dim, q_row = kv_row * group, heads = (size_t)kv_heads * group;
      const float scale = harness.shape().scale;
      std::vector<float> k, v;
      // `tokens` more tokens, of which the last ones are judged
      auto run = [&, dim = dim, kv_heads = kv_heads, group = group, prompt = prompt, type = type](int tokens) {
        auto q = numbers(q_row * tokens, scale);  // attention scales queries, then rounds them
        for (float& each : q) each /= scale;
        const auto more_k = numbers(kv_row * tokens, 1), more_v = numbers(kv_row * tokens, 1);
        const int before = (int)(k.size() / kv_row), all = before + tokens;
        k.insert(k.end(), more_k.begin(), more_k.end()), v.insert(v.end(), more_v.begin(), more_v.end());
        Step step{
            {skv_row{}}, std::vector<int32_t>(1), std::vector<int32_t>(tokens), std::vector<float>(SKV_MAX_PARAMS)};
        step.rows[0].tokens = tokens, step.rows[0].pos0 = before, step.rows[0].prompt = prompt;
        harness.begin(step), harness.inputs(q, more_k, more_v), harness.append(0), harness.attend(0);
        const auto out = harness.out(tokens), lse = harness.lse(tokens);
        harness.attend(0);  // again: counters are clear, sums do not depend on who comes first
        const bool same = out == harness.out(tokens) && lse == harness.lse(tokens);
        harness.read_lengths();
        const int queries = std::min(tokens, !judge ? 16 : tokens > 2048 ? 128 : tokens), from = tokens - queries;
        const double off =
            (judge ? judge : plain)(queries, all, kv_heads, group, dim, q.data() + from * q_row, k.data(), v.data(),
                                    out.data() + from * q_row, lse.data() + from * heads);
        const bool good = same && off < (type == SKV_BF16 ? 8e-3 : 1e-3);  // weights are rounded to the values' type
        printf("%s %s beside %s: %s, %d × %d heads of %d, %d of %d tokens: %.1e%s\n", good ? "ok  " : "FAIL",
               policy->name, judge ? "torch" : "plain loops", type == SKV_BF16 ? "bf16" : "f16", kv_heads, group, dim,
               queries, all, off, same ? "" : ", other bits the second time");
        failed += !good;
      };
      run(prompt), run(1);
    }
  return failed;
}
