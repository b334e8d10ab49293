#include "threads.h"

#include <pthread.h>
#include <sched.h>

namespace skv {

static inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb"); /* what a pause is on x86; "yield" does nothing on most processors */
#else
  std::this_thread::yield();
#endif
}

Threads::Threads(int count, std::vector<int> cpus) : count_(count), cpus_(std::move(cpus)), range_(count) {
  for (int worker = 1; worker < count_; worker++) threads_.emplace_back([this, worker] { work(worker); });
  pin(0);
}

Threads::~Threads() {
  stop_.store(true);
  round_.fetch_add(1);
  wake(start_, workers_asleep_);
  for (auto& thread : threads_) thread.join();
}

void Threads::pin(int worker) const {
  if (worker >= int(cpus_.size())) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus_[worker], &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* a refused pin costs speed, not correctness */
}

/* A sleeper counts itself in `asleep` before it looks again; who wakes has stored before it looks at `asleep`. All of
 * it is sequentially consistent, so one of the two sees the other. */
template <class Ready>
void Threads::wait(std::condition_variable& signal, std::atomic<int32_t>& asleep, Ready ready) {
  if (ready()) return;
  const auto limit = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int spins = 0; spins < 32; spins++) {
      if (ready()) return;
      relax();
    }
  } while (std::chrono::steady_clock::now() < limit);
  std::unique_lock<std::mutex> lock(mutex_);
  asleep.fetch_add(1);
  signal.wait(lock, ready);
  asleep.fetch_sub(1);
}

void Threads::wake(std::condition_variable& signal, const std::atomic<int32_t>& asleep) {
  if (asleep.load() == 0) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
  } /* who has counted itself is asleep by now */
  signal.notify_all();
}

void Threads::run_items(int worker) {
  if (order_ == Order::own) {
    const int32_t end = first_of(worker + 1, count_, items_);
    for (int32_t item = first_of(worker, count_, items_); item < end; item++) run_(arg_, item, worker);
    return;
  }
  const int32_t ranges = order_ == Order::near ? count_ : 1;
  for (int32_t i = 0; i < ranges; i++) {
    const int32_t range = (worker + i) % ranges, end = first_of(range + 1, ranges, items_);
    for (int32_t item; (item = range_[range].next.fetch_add(1, std::memory_order_relaxed)) < end;)
      run_(arg_, item, worker);
  }
}

void Threads::section(int32_t items, Order order, Run run, void* arg) {
  if (items <= 0) return;
  if (count_ == 1 || items == 1) {
    for (int32_t item = 0; item < items; item++) run(arg, item, 0);
    return;
  }
  run_ = run;
  arg_ = arg;
  items_ = items;
  order_ = order;
  const int32_t ranges = order == Order::near ? count_ : order == Order::queue ? 1 : 0;
  for (int32_t range = 0; range < ranges; range++)
    range_[range].next.store(first_of(range, ranges, items), std::memory_order_relaxed);
  busy_.store(count_ - 1, std::memory_order_relaxed);
  round_.fetch_add(1);
  wake(start_, workers_asleep_);
  run_items(0);
  wait(done_, caller_asleep_, [&] { return busy_.load() == 0; });
}

void Threads::work(int worker) {
  pin(worker);
  for (uint32_t seen = 0;;) {
    wait(start_, workers_asleep_, [&] { return round_.load() != seen; });
    seen++;
    if (stop_.load()) return;
    run_items(worker);
    if (busy_.fetch_sub(1) == 1) wake(done_, caller_asleep_);
  }
}

}  // namespace skv
