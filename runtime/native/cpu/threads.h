/* The engine's own threads: pinned, handed items one by one. Whoever waits (a worker for the next section, the caller
 * for the last worker) does so as waiting.h says, so somebody else's work on a pinned processor is not held up. Worker
 * 0 is the thread that made them, and the only one that may call each() and its kind. */
#ifndef SKV_THREADS_H
#define SKV_THREADS_H
#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

#include "waiting.h"

namespace skv {

class Threads {
 public:
  using Run = void (*)(void* arg, int32_t item, int32_t worker);

  /* cpus: what to pin workers to, `count` of them, or empty. Pins the calling thread too. */
  Threads(int count, std::vector<int> cpus);
  ~Threads();
  Threads(const Threads&) = delete;

  int count() const { return count_; }

  /* Runs items [0, items) and returns when all are done. Items begin in order; or, with `near`, each worker takes
   * neighbours, one after the other, and then what is left of other workers' items. Not reentrant. */
  void parallel(int32_t items, bool near, Run run, void* arg) {
    section(items, near ? Order::near : Order::queue, run, arg);
  }

  /* The same for a callable: fn(item, worker). */
  template <class Fn>
  void each(int32_t items, Fn&& fn) {
    parallel(items, false, call<std::remove_reference_t<Fn>>, &fn);
  }
  /* For items that lie side by side in memory. */
  template <class Fn>
  void each_near(int32_t items, Fn&& fn) {
    parallel(items, true, call<std::remove_reference_t<Fn>>, &fn);
  }
  /* For short items of equal length: an item has the same worker every time, so what it alone writes stays in that
   * worker's cache, and nobody asks who takes what. */
  template <class Fn>
  void each_own(int32_t items, Fn&& fn) {
    section(items, Order::own, call<std::remove_reference_t<Fn>>, &fn);
  }

 private:
  template <class Fn>
  static void call(void* arg, int32_t item, int32_t worker) {
    (*static_cast<Fn*>(arg))(item, worker);
  }
  /* How the items of a section are dealt out, in ranges of neighbours: one range that all workers take from, in order;
   * a range for each worker, which takes from the others' when its own is empty; or a range for each and no others. */
  enum class Order { queue, near, own };
  void section(int32_t items, Order order, Run run, void* arg);
  /* The first item of one of so many ranges. */
  static int32_t first_of(int32_t range, int32_t ranges, int32_t items) {
    return int32_t(int64_t(items) * range / ranges);
  }
  void pin(int worker) const;
  void work(int worker);
  void run_items(int worker);

  const int count_;
  const std::vector<int> cpus_;
  std::vector<std::thread> threads_;
  Run run_ = nullptr;
  void* arg_ = nullptr;
  int32_t items_ = 0;
  Order order_ = Order::queue;
  struct alignas(64) Range {
    std::atomic<int32_t> next{0}; /* the next of its items to take */
  };
  std::vector<Range> range_; /* [count]; one is in use for Order::queue */
  /* round: raised to start a section; busy: workers still inside */
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<int32_t> busy_{0};
  std::atomic<bool> stop_{false};
  Signal start_, done_;
};

}  // namespace skv
#endif
