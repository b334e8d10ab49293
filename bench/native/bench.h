/* The bench helper: a process that takes one command a line on stdin and answers one line of JSON. bench/helper.ts
 * compiles it and speaks to it; it is linked from the very objects that skv_cpu.so is made of.
 *
 *   threads N CPU…                           once, first
 *   limit NAME                               read | pages | int8 | bf16 | f32 | handover
 *   product TYPE ROWS COLS TOKENS PROMPTS    one dense product, weights cold; 1: as tokens of prompts are multiplied
 *   open LAYERS KV_HEADS GROUP DIM SLOTS MAX_TOKENS SEQS PATH     a policy library and a pool filled with random data
 *   params FIRST VALUE…                      slots protected at the front, and the policy's parameters; 0 until said
 *   pass NAME TOKENS SLOTS KEEP WINDOW       append | attend | observe | last | compact, all layers of a sequence
 *   close                                    frees the pool
 *
 * Answers: {"seconds": …} of one run, with "bytes" or "ops" where the command alone decides them; {"error": "…"}. */
#ifndef SKV_BENCH_H
#define SKV_BENCH_H
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "threads.h"

namespace skv::bench {

struct Answer {
  double seconds = 0, bytes = 0, ops = 0;
};

Answer limit(const std::string& name, Threads& threads);
Answer product(int type, int rows, int cols, int tokens, bool of_prompts, Threads& threads);

struct PoolSpec {
  std::string path;
  int layers, kv_heads, group, dim, slots, max_tokens, seqs;
};
void open_pool(const PoolSpec& spec, Threads& threads);
void close_pool();
void set_params(int first, const std::vector<float>& values);
Answer pass(const std::string& name, int tokens, int slots, int keep, int window, Threads& threads);

/* xorshift: random enough to have no pattern that a prefetcher or a zero-skipping memory could use. */
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  float uniform() { return float(next() >> 40) * 0x1p-24f; }
  float normal() { return (uniform() + uniform() + uniform() + uniform() - 2) * 1.7f; }
};

/* Memory for a while, in huge pages where the system gives them: limits are of the memory, not of its page tables. */
struct Block {
  uint8_t* data;
  size_t bytes;
  explicit Block(size_t n) : bytes(n) {
    constexpr size_t kHuge = size_t(2) << 20;
    const size_t unit = n >= 2 * kHuge ? kHuge : 4096, whole = (n + unit - 1) / unit * unit;
    data = static_cast<uint8_t*>(aligned_alloc(unit, whole));
    madvise(data, whole, MADV_HUGEPAGE); /* refused: slower, not wrong */
  }
  ~Block() { free(data); }
  Block(const Block&) = delete;
};

inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + long(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/* Median seconds of a call, of as many calls as take `least` seconds, three or more; the first call is warm-up. Calls
 * are timed one by one: one that another process interrupted is an outlier, and does not become everyone's time. */
template <class Fn>
double timed(Fn&& fn, double least = 0.05) {
  fn();
  std::vector<double> times;
  for (double total = 0; total < least || times.size() < 3; total += times.back()) {
    const double start = seconds_now();
    fn();
    times.push_back(seconds_now() - start);
  }
  return median(times);
}

}  // namespace skv::bench
#endif
