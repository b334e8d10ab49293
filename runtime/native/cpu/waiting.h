/* How threads wait for each other: for what another stores in an atomic, sequentially consistent. Who waits spins for
 * kSpin, which covers the gaps inside a step, and then sleeps: idle costs no processor. */
#ifndef SKV_WAITING_H
#define SKV_WAITING_H
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace skv {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb"); /* what a pause is on x86; "yield" does nothing on most processors */
#else
  std::this_thread::yield();
#endif
}

/* A sleeper counts itself before it looks again; who wakes has stored before it looks at the count. All of it is
 * sequentially consistent, so one of the two sees the other. */
class Signal {
 public:
  static constexpr std::chrono::microseconds kSpin{60};

  /* Returns when ready() is true. */
  template <class Ready>
  void wait(Ready ready) {
    if (ready()) return;
    const auto limit = std::chrono::steady_clock::now() + kSpin;
    do {
      for (int spins = 0; spins < 32; spins++) {
        if (ready()) return;
        relax();
      }
    } while (std::chrono::steady_clock::now() < limit);
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_.fetch_add(1);
    changed_.wait(lock, ready);
    asleep_.fetch_sub(1);
  }

  /* Wakes who sleeps; what they wait for has been stored before. */
  void wake() {
    if (asleep_.load() == 0) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
    } /* who has counted itself is asleep by now */
    changed_.notify_all();
  }

 private:
  alignas(64) std::atomic<int32_t> asleep_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace skv
#endif
