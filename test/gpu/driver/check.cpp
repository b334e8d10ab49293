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

Words file_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
  if (!file && bytes.empty()) throw std::runtime_error(path + " cannot be read");
  return Words(path, std::move(bytes));
}

// Relative, with a floor of 1.
struct Tolerances {
  double out, lse, states;
};

// The largest difference seen of each kind.
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

// One head as the vector has it.
Slots expected(Words* words, const skv_shape& s) {
  const int live = words->word();
  std::vector<std::vector<int32_t>> lanes;
  for (int l = 0; l < s.lanes; l++) lanes.push_back(words->list<int32_t>(live));
  const auto keys = words->list<float>((size_t)live * s.head_dim);
  const auto values = words->list<float>((size_t)live * s.head_dim);
  return Slots(lanes, keys, values, s.head_dim);
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

// Runs one step and holds its answers against the vector's; false where nothing after it can agree.
bool run_step(Harness* harness, const Tolerances& allowed, Words* problem, Words* answer, Verdict* verdict) {
  const skv_shape& s = harness->shape();
  const size_t heads = (size_t)s.kv_heads * s.group;
  const Step step(problem, s);
  const int tokens = step.tokens();
  harness->begin(step);
  for (int layer = 0; layer < s.layers; layer++) {
    const LayerInput input(problem, s, tokens);
    harness->inputs(input.q, input.k, input.v);
    harness->append(layer);
    harness->attend(layer);
    harness->observe(layer);
    const auto out = answer->list<float>(tokens * heads * s.head_dim), lse = answer->list<float>(tokens * heads);
    verdict->close(&verdict->out, "out", harness->out(tokens), out, allowed.out);
    verdict->close(&verdict->lse, "lse", harness->lse(tokens), lse, allowed.lse);
  }
  if (step.compacts()) harness->compact();
  if (harness->read_lengths() == answer->list<int32_t>((size_t)s.max_seqs * s.layers * s.kv_heads)) return true;
  verdict->fail("other numbers of live slots");
  return false;
}

Verdict run(const skv_policy* policy, const std::string& path) {
  Words words = file_of(path);
  if (std::string(words.take(4), 4) != "SKVV" || words.word() != 1)
    throw std::runtime_error(path + " is no test vector of this version");
  Tolerances allowed;
  allowed.out = words.one<float>();
  allowed.lse = words.one<float>();
  allowed.states = words.one<float>();
  const int problem_bytes = words.word();
  Words answer = words.at(words.position() + problem_bytes);
  const Problem problem(&words);
  if (problem.window) throw std::runtime_error("no table loses pages here: vectors have no windows");
  Harness harness(policy, problem.shape, problem.inv_freq);
  Verdict verdict;
  for (int ops = problem.ops; ops > 0; ops--) {
    if (words.word() == kStep) {
      if (!run_step(&harness, allowed, &words, &answer, &verdict)) return verdict;
    } else {
      const int head = read_head(&words, harness.shape());
      compare(&verdict, harness.read(head), expected(&answer, harness.shape()), policy->states, allowed.states);
    }
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

// One prompt, then a generated token, with numbers that are exact in the type: the judge sees what the kernels see.
class AttentionCheck {
 public:
  AttentionCheck(const skv_policy* policy, const skv_shape& shape, Judge judge)
      // attention alone: cached keys must not be rotated
      : harness_(policy, shape, std::vector<float>(shape.head_dim / 2)), judge_(judge), next_(shape.head_dim) {}

  // `tokens` more tokens of a prompt of `prompt`, the last ones of which are judged. Prints, and says whether it is
  // good.
  bool run(int tokens, int prompt) {
    const skv_shape& s = harness_.shape();
    const size_t kv_row = (size_t)s.kv_heads * s.head_dim, q_row = kv_row * s.group;
    auto q = numbers(q_row * tokens, s.scale);  // attention scales queries, then rounds them
    for (float& each : q) each /= s.scale;
    const auto k = numbers(kv_row * tokens, 1), v = numbers(kv_row * tokens, 1);
    const int before = (int)(k_.size() / kv_row), all = before + tokens;
    k_.insert(k_.end(), k.begin(), k.end());
    v_.insert(v_.end(), v.begin(), v.end());
    Step step;
    step.rows.resize(1);
    step.rows[0].tokens = tokens;
    step.rows[0].pos0 = before;
    step.rows[0].prompt = prompt;
    step.budgets.resize(1);
    step.classes.resize(tokens);
    step.params.resize(SKV_MAX_PARAMS);
    harness_.begin(step);
    harness_.inputs(q, k, v);
    harness_.append(0);
    harness_.attend(0);
    const auto out = harness_.out(tokens), lse = harness_.lse(tokens);
    harness_.attend(0);  // again: counters are clear, sums do not depend on who comes first
    const bool same = out == harness_.out(tokens) && lse == harness_.lse(tokens);
    harness_.read_lengths();
    const int queries = std::min(tokens, !judge_ ? 16 : tokens > 2048 ? 128 : tokens), from = tokens - queries;
    const size_t heads = (size_t)s.kv_heads * s.group;
    const double off =
        (judge_ ? judge_ : plain)(queries, all, s.kv_heads, s.group, s.head_dim, q.data() + from * q_row, k_.data(),
                                  v_.data(), out.data() + from * q_row, lse.data() + from * heads);
    const bool good = same && off < (s.kv_type == SKV_BF16 ? 8e-3 : 1e-3);  // weights are rounded to the values' type
    printf("%s %s beside %s: %s, %d × %d heads of %d, %d of %d tokens: %.1e%s\n", good ? "ok  " : "FAIL",
           harness_.policy()->name, judge_ ? "torch" : "plain loops", s.kv_type == SKV_BF16 ? "bf16" : "f16",
           s.kv_heads, s.group, s.head_dim, queries, all, off, same ? "" : ", other bits the second time");
    return good;
  }

 private:
  std::vector<float> numbers(size_t n, float scale) {
    const int type = harness_.shape().kv_type;
    std::vector<float> x(n);
    for (float& each : x) each = scale * ((float)((next_() & 0xffff) + (next_() & 0xffff)) / 32768.0f - 2.0f);
    return decode(encode(x.data(), n, type).data(), n, type);
  }
  Harness harness_;
  Judge judge_;
  std::minstd_rand next_;
  std::vector<float> k_, v_;  // [token][KV head][dim] so far
};

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
      s.layers = 1;
      s.kv_heads = kv_heads;
      s.group = group;
      s.head_dim = dim;
      s.kv_type = type;
      s.io_type = SKV_F32;
      s.max_tokens = prompt;
      s.max_slots = prompt + 1;
      s.max_seqs = 1;
      if (policy->accepts(&s)) continue;  // it holds no such kernels
      AttentionCheck check(policy, s, judge);
      failed += !check.run(prompt, prompt);
      failed += !check.run(1, prompt);
    }
  return failed;
}
