#include "threads.h"

#include <pthread.h>
#include <sched.h>

namespace skv {

Threads::Threads(int count, std::vector<int> cpus) : count_(count), cpus_(std::move(cpus)), range_(count) {
  for (int worker = 1; worker < count_; worker++) threads_.emplace_back([this, worker] { work(worker); });
  pin(0);
}

Threads::~Threads() {
  stop_.store(true);
  round_.fetch_add(1);
  start_.wake();
  for (auto& thread : threads_) thread.join();
}

void Threads::pin(int worker) const {
  if (worker >= int(cpus_.size())) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus_[worker], &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* a refused pin costs speed, not correctness */
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
  start_.wake();
  run_items(0);
  done_.wait([&] { return busy_.load() == 0; });
}

void Threads::work(int worker) {
  pin(worker);
  for (uint32_t seen = 0;;) {
    start_.wait([&] { return round_.load() != seen; });
    seen++;
    if (stop_.load()) return;
    run_items(worker);
    if (busy_.fetch_sub(1) == 1) done_.wake();
  }
}

}  // namespace skv
