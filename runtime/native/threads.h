/* The engine's own threads: pinned, handed items one by one, spinning briefly between parallel sections and asleep when
 * there is nothing to do. Worker 0 is the thread that calls parallel(). */
#ifndef SKV_THREADS_H
#define SKV_THREADS_H
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace skv {

class Threads {
 public:
  using Run = void (*)(void* arg, int32_t item, int32_t worker);

  /* cpus: what to pin workers to, `count` of them, or empty. */
  Threads(int count, std::vector<int> cpus);
  ~Threads();
  Threads(const Threads&) = delete;

  int count() const { return count_; }
  /* Pins the calling thread as worker 0. */
  void adopt_caller() const { pin(0); }

  /* Runs items [0, items) and returns when all are done. Not reentrant. */
  void parallel(int32_t items, Run run, void* arg);

  /* The same for a callable: fn(item, worker). */
  template <class Fn>
  void each(int32_t items, Fn&& fn) {
    parallel(
        items, [](void* arg, int32_t item, int32_t worker) { (*static_cast<Fn*>(arg))(item, worker); }, &fn);
  }

 private:
  void pin(int worker) const;
  void work(int worker);
  void drain(int worker);

  const int count_;
  const std::vector<int> cpus_;
  std::vector<std::thread> threads_;
  Run run_ = nullptr;
  void* arg_ = nullptr;
  int32_t items_ = 0;
  /* round: raised to start a section; next: the next item to take; busy: workers still inside */
  alignas(64) std::atomic<uint32_t> round_{0};
  alignas(64) std::atomic<int32_t> next_{0};
  alignas(64) std::atomic<int32_t> busy_{0};
  std::atomic<int32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace skv
#endif
