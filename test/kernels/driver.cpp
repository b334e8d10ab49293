// Drives one policy library through append, attend, observe and compact on a problem read from stdin, without a model
// and without an engine. test/kernels/driver.ts writes the problem and reads the answer; both sides list the words in
// order.
//
// A CUDA library compiled against the emulation is driven the same way: its device memory is the host's.
//
//   problem  i32 kv_type io_type layers kv_heads group head_dim max_tokens max_slots interleaved seqs workers repeat
//   ops
//            f32 inv_freq[head_dim / 2]
//            ops: 1 step  i32 rows tokens, skv_row[rows], budgets[seqs][layers], classes[tokens], f32 params[seqs][16],
//                         per layer f32 q, k, v                    answer: per layer out, lse; then lengths
//                 3 copy  i32 from (seq layer head) to (seq layer head): the first page of one becomes the other's; no
//                 answer 2 read  i32 seq layer head                       answer: i32 live, lanes[policy.lanes][live],
//                 f32 keys, values
//
// Items are dealt in an order that depends on `workers`, each worker with scratch of its own full of noise: nothing may
// depend on either. `repeat` > 1 times the attend of each step and reports nanoseconds on stderr.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "abi.h"
#include "layout.h"

namespace {

std::vector<uint8_t> input;
size_t at = 0;

const void* take(size_t bytes) {
  if (at + bytes > input.size()) {
    fprintf(stderr, "the problem ends early\n");
    exit(2);
  }
  const void* p = input.data() + at;
  at += bytes;
  return p;
}
int32_t word() { return *(const int32_t*)take(4); }
template <class T>
std::vector<T> list(size_t n) {
  const T* p = (const T*)take(n * sizeof(T));
  return std::vector<T>(p, p + n);
}
template <class T>
void put(const std::vector<T>& v) {
  fwrite(v.data(), sizeof(T), v.size(), stdout);
}

int workers = 1;
bool threaded = false;
bool backwards = false;  // items from the last to the first: nothing but observing may depend on their order

void parallel(void*, int32_t items, int32_t, void (*run)(void*, int32_t, int32_t), void* arg) {
  if (threaded) {
    std::vector<std::thread> threads;
    for (int w = 0; w < workers; w++)
      threads.emplace_back([=] {
        for (int i = w; i < items; i += workers) run(arg, i, w);
      });
    for (auto& thread : threads) thread.join();
    return;
  }
  for (int i = 0; i < items; i++) run(arg, backwards ? items - 1 - i : i, i % workers);
}

// 16-bit numbers: bf16, and f16 as far as numbers of ordinary size go.
uint16_t narrow(float x, int type) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (type == SKV_BF16) return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  if (std::fabs(x) < 6.1035156e-5f)
    return uint16_t((bits >> 16 & 0x8000) | (int)std::nearbyint(std::fabs(x) * 0x1p24f));
  return uint16_t((bits >> 16 & 0x8000) | ((bits & 0x7fffffff) - 0x38000000 + 0xfff + (bits >> 13 & 1)) >> 13);
}
float widen(uint16_t word, int type) {
  const uint32_t sign = (uint32_t)(word & 0x8000) << 16, size = word & 0x7fff;
  const uint32_t bits = type == SKV_BF16 ? (uint32_t)word << 16 : sign | ((size << 13) + 0x38000000);
  float x;
  memcpy(&x, &bits, 4);
  return type == SKV_F16 && size < 0x400 ? (sign ? -1 : 1) * (float)size * 0x1p-24f : x;
}
std::vector<float> stored(const std::vector<float>& x, int type) {
  if (type == SKV_F32) return x;
  std::vector<float> out(x.size() / 2 + 1);
  for (size_t i = 0; i < x.size(); i++) ((uint16_t*)out.data())[i] = narrow(x[i], type);
  return out;
}

// What an engine knows of a step before it runs.
skv_hints hints_of(const std::vector<skv_row>& rows, const skv_shape& shape, const std::vector<int32_t>& lengths) {
  skv_hints hints{};
  for (const skv_row& row : rows) {
    hints.compact_rows += row.compact;
    const int heads = shape.layers * shape.kv_heads;
    for (int h = row.seq * heads; h < (row.seq + 1) * heads; h++)
      hints.slots = std::max(hints.slots, lengths[h] + row.tokens);
    if (row.tokens == 1 && row.pos0 >= row.prompt) {
      hints.decode_rows++;
    } else {
      hints.prompt_tokens = std::max(hints.prompt_tokens, row.tokens);
      hints.observed_tokens = std::max(hints.observed_tokens, row.observe1 - row.observe0);
    }
  }
  return hints;
}

uint8_t* aligned(size_t bytes) {
  auto* p = (uint8_t*)aligned_alloc(64, (bytes + 63) / 64 * 64);
  memset(p, 0xff, (bytes + 63) / 64 * 64);  // NaN everywhere: whatever is read unwritten shows
  return p;
}

}  // namespace

int main(int, char** argv) {
  uint8_t chunk[1 << 16];
  for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;) input.insert(input.end(), chunk, chunk + n);
  void* handle = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!handle) return fprintf(stderr, "%s\n", dlerror()), 2;
  const skv_policy* policy = ((skv_policy_entry_fn)dlsym(handle, SKV_POLICY_ENTRY))();
  const bool cuda = !strcmp(policy->target, "cuda");

  skv_shape shape{};
  shape.kv_type = word(), shape.io_type = word(), shape.layers = word(), shape.kv_heads = word(), shape.group = word(),
  shape.head_dim = word();
  shape.max_tokens = word(), shape.max_slots = word(), shape.rope_interleaved = word();
  const int seqs = word();
  workers = word();
  const int repeat = word();
  int ops = word();
  threaded = repeat > 1;
  const int dim = shape.head_dim, heads = shape.kv_heads * shape.group, bytes = skv_kv_bytes(shape.kv_type);
  const auto inv_freq = list<float>(dim / 2);
  shape.lanes = policy->lanes;
  const skv_page_layout layout = skv_layout_of(dim, bytes, shape.lanes);
  shape.page_bytes = layout.bytes;
  shape.table_stride = (shape.max_slots + SKV_PAGE - 1) / SKV_PAGE;
  shape.scale = 1 / std::sqrt((float)dim);
  shape.inv_freq = inv_freq.data();

  // pages in a scattered order, none twice
  const int pages = seqs * shape.layers * shape.kv_heads * shape.table_stride;
  shape.max_rows = std::max(8, seqs), shape.max_seqs = seqs, shape.pages = pages + 1;
  std::vector<int32_t> table(pages), lengths(pages / shape.table_stride, 0);
  int step_by = pages / 2 + 1;
  while (std::__gcd(step_by, pages) != 1) step_by++;
  for (int i = 0; i < pages; i++) table[i] = 1 + (int)((int64_t)i * step_by % pages);
  skv_step step{};
  step.abi_version = SKV_ABI_VERSION, step.size = sizeof step, step.shape = &shape;
  auto fail = [&](int32_t code) { return fprintf(stderr, "code %d: %s\n", code, policy->error(code)), 3; };
  skv_exec exec{};
  exec.workers = workers, exec.parallel = parallel;
  if (const int32_t refused = policy->accepts(&shape)) {
    const int32_t codes[] = {policy->append(&step, 0, &exec), policy->attend(&step, 0, &exec),
                             policy->compact(&step, &exec)};
    for (const int32_t code : codes)
      if (code != refused) return fprintf(stderr, "a pass says %d, accepts %d\n", code, refused), 4;
    return fail(refused);
  }
  step.pool = aligned((size_t)(pages + 1) * shape.page_bytes);
  step.tables = table.data(), step.lengths = lengths.data();
  step.logits = (float*)aligned(policy->step_floats(&shape) * 4);
  exec.scratch_bytes = (policy->scratch_bytes(&shape) + 63) / 64 * 64;
  exec.scratch = aligned(exec.scratch_bytes * (cuda ? 1 : workers));

  while (ops-- > 0) {
    const int op = word();
    if (op == 3) {
      int at[2];
      for (int& index : at) {
        const int seq = word(), layer = word(), head = word();
        index = (seq * shape.layers + layer) * shape.kv_heads + head;
      }
      const std::vector<int32_t> pair = {table[at[0] * shape.table_stride], table[at[1] * shape.table_stride]};
      if (const int32_t failed = policy->copy(&step, pair.data(), 1, &exec)) return fail(failed);
      lengths[at[1]] = lengths[at[0]];
      continue;
    }
    if (op == 1) {
      const int rows = word(), tokens = word();
      const auto row = list<skv_row>(rows);
      const auto budgets = list<int32_t>(seqs * shape.layers);
      const auto classes = list<int32_t>(tokens);
      const auto params = list<float>(seqs * SKV_MAX_PARAMS);
      step.rows = rows, step.row = row.data(), step.budgets = budgets.data(), step.classes = classes.data(),
      step.params = params.data();
      bool compacts = false, observes = false;
      for (const auto& r : row) compacts |= r.compact != 0, observes |= r.observe1 > r.observe0;
      for (int layer = 0; layer < shape.layers; layer++) {
        const auto q = stored(list<float>((size_t)tokens * heads * dim), shape.io_type),
                   k = stored(list<float>((size_t)tokens * shape.kv_heads * dim), shape.io_type),
                   v = stored(list<float>((size_t)tokens * shape.kv_heads * dim), shape.io_type);
        std::vector<float> out((size_t)tokens * heads * dim, NAN), lse((size_t)tokens * heads, NAN);
        if (cuda) shape.max_tokens = tokens;  // the arrays' true sizes, for the emulation's checks
        step.hints = hints_of(row, shape, lengths);
        step.q = q.data(), step.k = k.data(), step.v = v.data(), step.out = out.data(), step.lse = lse.data();
        backwards = workers > 1;
        int32_t failed = policy->append(&step, layer, &exec);
        backwards = workers > 1 && !observes;
        if (!failed) failed = policy->attend(&step, layer, &exec);
        if (threaded) {
          std::vector<double> times;
          for (int i = 0; i < repeat; i++) {
            const auto start = std::chrono::steady_clock::now();
            policy->attend(&step, layer, &exec);
            times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
          }
          std::nth_element(times.begin(), times.begin() + repeat / 2, times.end());
          fprintf(stderr, "attend %d tokens, %d slots: %.1f us\n", tokens, lengths[0], times[repeat / 2] * 1e6);
        }
        if (!failed && policy->observe) failed = policy->observe(&step, layer, &exec);
        if (failed) return fail(failed);
        if (shape.io_type != SKV_F32)
          for (size_t i = out.size(); i-- > 0;) out[i] = widen(((uint16_t*)out.data())[i], shape.io_type);
        put(out), put(lse);
      }
      backwards = workers > 1;
      if (compacts)
        if (const int32_t failed = policy->compact(&step, &exec)) return fail(failed);
      put(lengths);
      continue;
    }
    const int seq = word(), layer = word(), head = word();
    const int index = (seq * shape.layers + layer) * shape.kv_heads + head, live = lengths[index];
    std::vector<int32_t> lanes((size_t)shape.lanes * live);
    std::vector<float> keys((size_t)live * dim), values(keys);
    for (int s = 0; s < live; s++) {
      const uint8_t* page = step.pool + (size_t)table[index * shape.table_stride + s / SKV_PAGE] * shape.page_bytes;
      const int slot = s % SKV_PAGE;
      for (int l = 0; l < shape.lanes; l++)
        lanes[(size_t)l * live + s] = ((const int32_t*)(page + layout.lanes))[l * SKV_PAGE + slot];
      for (int d = 0; d < dim; d++) {
        const int straight = slot * dim + d;
        const int key = cuda ? straight : bytes == 4 ? d * 16 + slot : d / 2 * 32 + slot * 2 + d % 2;
        const int value = cuda || bytes == 4 ? straight : 2 * (slot / 2 * dim + d) + slot % 2;
        auto read = [&](int field, int element) {
          const uint8_t* from = page + field + element * bytes;
          return bytes == 4 ? *(const float*)from : widen(*(const uint16_t*)from, shape.kv_type);
        };
        keys[(size_t)s * dim + d] = read(layout.keys, key);
        values[(size_t)s * dim + d] = read(layout.values, value);
      }
    }
    put(std::vector<int32_t>{live}), put(lanes), put(keys), put(values);
  }
  return 0;
}
