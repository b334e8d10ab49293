// A kernel launch on a CPU: the threads of a block are fibres that run one after another until each meets a barrier.
// Blocks run one after another. The order of both is chosen by SKV_EMULATE=forward|reverse|<seed>, so that a test can
// ask for the same bits from several. A barrier that not all threads reach, or that two threads reach in two places,
// is an error; so is whatever memory.hpp and warp.hpp find. The first error ends the launch.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>
#if defined(__x86_64__) && !defined(SKV_EMULATE_UCONTEXT)
#define EMULATE_OWN_SWITCH
#else
#include <ucontext.h>
#endif

namespace emulate {

struct Dim {
  unsigned x, y, z;
  Dim(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

struct Place {
  const char* file = "";
  int line = 0;
  bool operator==(const Place& other) const {
    return line == other.line && (file == other.file || !strcmp(file, other.file));
  }
};

enum class State { ready, at_barrier, in_warp, ended };

struct Copy {  // asynchronous, not yet done
  int group;
  std::function<void()> run;
};

struct Thread {
#if defined(EMULATE_OWN_SWITCH)
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
  char* stack = nullptr;
  State state = State::ended;
  const char* what = "";  // it waits for
  Place place;
  Dim index;
  uint32_t warp_epoch = 0;
  std::vector<Copy> copies;
  int group = 0;  // the open one
};

// Who touched a word last: see memory.hpp.
struct Stamp {
  uint32_t launch = 0, block = 0, epoch = 0;
  uint16_t thread = 0, warp_epoch = 0;
};

struct Cell {
  Stamp write, read;
};

// A block's writes until then are seen by whoever was the last at a counter.
struct Arrival {
  const Cell* counter;
  uint32_t block, epoch;
};

struct Machine {
  std::vector<Thread> threads;  // of the largest block so far
  Thread scheduler;
  int now = 0, block_threads = 0;
  Dim grid, block, block_index, thread_index;
  const char* kernel = "";
  const std::function<void()>* body = nullptr;
  uint32_t launch = 0, block_number = 0, epoch = 0;
  std::vector<char> shared;
  std::vector<Cell> shared_cells;  // one for four bytes
  size_t shared_bytes = 0;
  std::vector<Arrival> arrived, seen;  // at counters that are not full; that the block has met
  bool last = false;                   // the block was the last at its counter
  std::string error;
};

inline Machine machine;

// What is kept instead of being done, while somebody keeps a graph: 0 or an error's code each.
inline std::vector<std::function<int32_t()>>* kept = nullptr;
// How many of them are the emulation's own, which no device has.
inline size_t kept_aside = 0;

constexpr size_t kStack = 96 * 1024;

#if defined(EMULATE_OWN_SWITCH)
// Saves the callee's registers on the stack, changes stacks, restores.
extern "C" __attribute__((visibility("hidden"))) void skv_emulate_switch(void** from, void* to);
asm(R"(
.text
.local skv_emulate_switch
.type skv_emulate_switch, @function
skv_emulate_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
inline void change(Thread& from, Thread& to) { skv_emulate_switch(&from.sp, to.sp); }
#else
inline void change(Thread& from, Thread& to) { swapcontext(&from.context, &to.context); }
#endif

inline Thread& current() { return machine.threads[machine.now]; }

// Back to the scheduler, until the thread is ready again.
inline void yield(State state, const char* what, Place place) {
  Thread& t = current();
  t.state = state;
  t.what = what;
  t.place = place;
  change(t, machine.scheduler);
}

inline std::string where(int thread) {
  const Dim& b = machine.block_index;
  char text[512];
  snprintf(text, sizeof text, "kernel %s, block (%u, %u, %u), thread %d", machine.kernel, b.x, b.y, b.z, thread);
  return text;
}

inline std::string told(Place place) {
  const char* file = strrchr(place.file, '/');
  return std::string(file ? file + 1 : place.file) + ":" + std::to_string(place.line);
}

// Ends the launch with a message; only the first one counts.
[[noreturn]] inline void fail(Place place, const char* format, ...) {
  char text[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (machine.error.empty()) {
    machine.error = where(machine.now) + ": " + text + ", " + told(place);
  }
  for (;;) yield(State::ended, "", place);
}

inline void fibre() {
  (*machine.body)();
  if (!current().copies.empty()) fail({}, "it ends with copies under way: a wait_async is missing");
  for (;;) yield(State::ended, "", {});
}

inline void prepare(Thread& t) {
  if (!t.stack) t.stack = (char*)malloc(kStack);
  t.state = State::ready;
  t.warp_epoch = 0;
  t.copies.clear();
  t.group = 0;
#if defined(EMULATE_OWN_SWITCH)
  void** top = (void**)(((uintptr_t)t.stack + kStack) & ~(uintptr_t)15);
  top[-1] = nullptr;
  top[-2] = (void*)fibre;
  for (int i = 3; i <= 8; i++) top[-i] = nullptr;
  t.sp = top - 8;
#else
  getcontext(&t.context);
  t.context.uc_stack.ss_sp = t.stack;
  t.context.uc_stack.ss_size = kStack;
  t.context.uc_link = nullptr;
  makecontext(&t.context, (void (*)())fibre, 0);
#endif
}

// The order in which n things run: forward, reverse, or drawn from a seed.
inline std::vector<int> order_of(int n) {
  static const char* asked = getenv("SKV_EMULATE");
  static uint64_t state = asked ? strtoull(asked, nullptr, 10) : 0;
  std::vector<int> order(n);
  const bool reverse = asked && !strcmp(asked, "reverse");
  for (int i = 0; i < n; i++) order[i] = reverse ? n - 1 - i : i;
  if (asked && *asked >= '0' && *asked <= '9')
    for (int i = n - 1; i > 0; i--) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      std::swap(order[i], order[(state >> 33) % (i + 1)]);
    }
  return order;
}

inline bool same_place(const Thread& a, const Thread& b) { return a.state == b.state && a.place == b.place; }

// Nobody can go on. Either all wait at one barrier, which opens, or the kernel is wrong: says who waits, and for whom.
inline bool open_barrier() {
  Machine& m = machine;
  Thread* const all = m.threads.data();
  int waits = -1;  // at a barrier if any does, else for its warp
  for (int i = 0; i < m.block_threads; i++)
    if (all[i].state == State::at_barrier || (waits < 0 && all[i].state == State::in_warp)) {
      waits = i;
      if (all[i].state == State::at_barrier) break;
    }
  const int warp = waits / 32 * 32;
  const bool block_wide = all[waits].state == State::at_barrier;
  const int first = block_wide ? 0 : warp, end = block_wide ? m.block_threads : warp + 32;
  int missing = -1;  // one that has ended, else one that waits elsewhere
  for (int i = first; i < end; i++)
    if (!same_place(all[i], all[waits]) &&
        (missing < 0 || (all[i].state == State::ended && all[missing].state != State::ended)))
      missing = i;
  if (block_wide && missing < 0) {
    m.epoch++;
    for (int i = 0; i < m.block_threads; i++) all[i].state = State::ready;
    return true;
  }
  m.error = where(waits) + ": waits at " + all[waits].what + ", " + told(all[waits].place);
  if (missing < 0)
    m.error += ", for lanes that its mask does not have";
  else if (all[missing].state == State::ended)
    m.error += ", which thread " + std::to_string(missing) + " never reaches: it has ended";
  else
    m.error += ", while thread " + std::to_string(missing) + " waits at " + all[missing].what + ", " +
               told(all[missing].place);
  return false;
}

inline bool run_block() {
  Machine& m = machine;
  const std::vector<int> order = order_of(m.block_threads);
  for (int i = 0; i < m.block_threads; i++) {
    prepare(m.threads[i]);
    m.threads[i].index = Dim(i % m.block.x, i / m.block.x % m.block.y, i / m.block.x / m.block.y);
  }
  m.shared_cells.assign(m.shared_bytes / 4 + 4, {});
  m.block_number++;
  m.epoch++;
  m.seen.clear();
  for (int running = m.block_threads; running > 0;) {
    bool moved = false;
    for (int i : order) {
      if (m.threads[i].state != State::ready) continue;
      moved = true;
      m.now = i;
      m.thread_index = m.threads[i].index;
      change(m.scheduler, m.threads[i]);
      if (!m.error.empty()) return false;
      if (m.threads[i].state == State::ended) running--;
    }
    if (running > 0 && !moved && !open_barrier()) return false;
  }
  return true;
}

// Runs every block of a launch; false leaves the reason in machine.error.
inline bool run(const char* kernel, Dim grid, Dim block, size_t shared_bytes, const std::function<void()>& body) {
  Machine& m = machine;
  m.error.clear();
  m.kernel = kernel;
  m.grid = grid;
  m.block = block;
  m.body = &body;
  m.block_threads = int(block.x * block.y * block.z);
  m.launch++;
  m.block_number = 0;
  m.arrived.clear();
  m.shared_bytes = shared_bytes;
  if (m.shared.size() < shared_bytes + 16) m.shared.resize(shared_bytes + 16);
  if (m.block_threads % 32 || m.block_threads > 1024) m.error = "a block has whole warps, at most 1024 threads";
  if (shared_bytes > 227 * 1024) m.error = "a block has at most 227 KiB of shared memory";
  if (grid.y > 65535 || grid.z > 65535) m.error = "a grid has at most 65535 blocks in y and z";
  if (!m.error.empty()) {
    m.error = std::string("kernel ") + kernel + ": " + m.error;
    return false;
  }
  if ((int)m.threads.size() < m.block_threads) m.threads.resize(m.block_threads);
  for (int b : order_of(int(grid.x * grid.y * grid.z))) {
    m.block_index = Dim(b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y);
    if (!run_block()) return false;
  }
  return true;
}

inline void barrier(Place place) { yield(State::at_barrier, "__syncthreads()", place); }

}  // namespace emulate
