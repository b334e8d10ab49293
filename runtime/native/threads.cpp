#include "threads.h"

#include <pthread.h>
#include <sched.h>

namespace skv {

static inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/* About 50 µs: longer than the gaps between the sections of a step, far shorter than the gaps between steps. */
static constexpr int kSpins = 2000;

Threads::Threads(int count, std::vector<int> cpus) : count_(count), cpus_(std::move(cpus)) {
  for (int worker = 1; worker < count_; worker++) threads_.emplace_back([this, worker] { work(worker); });
}

Threads::~Threads() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
    round_.fetch_add(1);
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Threads::pin(int worker) const {
  if (worker >= int(cpus_.size())) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus_[worker], &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* a refused pin costs speed, not correctness */
}

void Threads::drain(int worker) {
  for (int32_t item; (item = next_.fetch_add(1, std::memory_order_relaxed)) < items_;) run_(arg_, item, worker);
}

void Threads::parallel(int32_t items, Run run, void* arg) {
  if (items <= 0) return;
  if (count_ == 1 || items == 1) {
    for (int32_t item = 0; item < items; item++) run(arg, item, 0);
    return;
  }
  run_ = run;
  arg_ = arg;
  items_ = items;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(count_ - 1, std::memory_order_relaxed);
  round_.fetch_add(1); /* seq_cst: orders with sleepers_ below */
  if (sleepers_.load() > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    wake_.notify_all();
  }
  drain(0);
  for (int spins = 0; busy_.load(std::memory_order_acquire) > 0; spins++) {
    relax();
    if (spins > 20 * kSpins) std::this_thread::yield(); /* another process has the worker's processor */
  }
}

void Threads::work(int worker) {
  pin(worker);
  uint32_t seen = 0;
  for (;;) {
    for (int spins = 0; round_.load(std::memory_order_acquire) == seen && spins < kSpins; spins++) relax();
    if (round_.load() == seen) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, [&] { return round_.load() != seen; });
      sleepers_.fetch_sub(1);
    }
    seen++;
    if (stop_.load()) return;
    drain(worker);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace skv
