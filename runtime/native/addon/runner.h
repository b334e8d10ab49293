/* The engine's thread. */
#ifndef SKV_RUNNER_H
#define SKV_RUNNER_H
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace skv {

/* Worker 0 of the engine's backend. Jobs run in the order they were posted; the last ones run before it
 * ends. */
class Runner {
 public:
  Runner() : thread_([this] { loop(); }) {}
  ~Runner() { stop(); }
  /* Returns when all that was posted has run; nothing runs after it. */
  void stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  void post(std::function<void()> job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
  }

 private:
  void loop() {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace skv
#endif
