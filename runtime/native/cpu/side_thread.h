/* A thread that does pieces of work in the order in which another thread starts them, while that one goes on. */
#ifndef SKV_SIDE_THREAD_H
#define SKV_SIDE_THREAD_H
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>

#include "waiting.h"

namespace skv {

class SideThread {
 public:
  /* Pieces of work that may be under way at once. */
  static constexpr int kPlaces = 2;

  SideThread() : thread_([this] { loop(); }) {}
  /* What was started is done first. */
  ~SideThread() {
    stop_.store(true);
    started_signal_.wake();
    thread_.join();
  }
  SideThread(const SideThread&) = delete;

  /* place: whose last piece of work has been waited for. */
  void start(int place, std::function<void()> work) {
    const uint32_t number = started_.load();
    work_[number % kPlaces] = std::move(work);
    ends_[place] = number + 1;
    started_.store(number + 1);
    started_signal_.wake();
  }
  /* Until the place's work is done. Throws what a piece of work threw; nothing is done after one did. */
  void wait(int place) {
    ended_signal_.wait([&] { return int32_t(ended_.load() - ends_[place]) >= 0; });
    if (failed_.load()) std::rethrow_exception(failure_);
  }

 private:
  void loop() {
    for (uint32_t number = 0;; number++) {
      started_signal_.wait([&] { return started_.load() != number || stop_.load(); });
      if (started_.load() == number) return;
      try {
        if (!failed_.load()) work_[number % kPlaces]();
      } catch (...) {
        failure_ = std::current_exception();
        failed_.store(true);
      }
      ended_.store(number + 1);
      ended_signal_.wake();
    }
  }

  std::function<void()> work_[kPlaces];
  uint32_t ends_[kPlaces] = {}; /* pieces of work that have ended when the place's has */
  std::exception_ptr failure_;
  std::atomic<uint32_t> started_{0}, ended_{0};
  std::atomic<bool> stop_{false}, failed_{false};
  Signal started_signal_, ended_signal_;
  std::thread thread_; /* last: it uses the others */
};

}  // namespace skv
#endif
