// The thread pool alone: that every item runs once, that waiting ends in sleep, and that pools on the same processors
// all get through their work.
//   threads CPU CPU   two processors to pin to, possibly the same one twice
#include "threads.h"

#include <sys/resource.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>

static double processor_seconds() {
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
}

/* `sections` sections of a few items each; how many items ran. */
static int64_t work(skv::Threads& threads, int sections) {
  std::atomic<int64_t> items{0};
  for (int i = 0; i < sections; i++) threads.each(3, [&](int32_t, int32_t) { items++; });
  return items;
}

int main(int, char** argv) {
  const std::vector<int> cpus = {atoi(argv[1]), atoi(argv[2])};
  skv::Threads threads(2, cpus);
  for (int items = 0; items < 500; items++) {
    std::atomic<int64_t> sum{0};
    threads.each(items, [&](int32_t item, int32_t) { sum += item + 1; });
    if (sum != int64_t(items) * (items + 1) / 2) return 2;
  }
  for (int i = 0; i < 20; i++) { /* workers sleep by now, and wake */
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    if (work(threads, 1) != 3) return 3;
  }
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const double idle = processor_seconds() - before;

  int64_t done[2];
  auto run = [&](int64_t* items) {
    skv::Threads pool(2, cpus);
    *items = work(pool, 500);
  };
  std::thread first(run, &done[0]), second(run, &done[1]);
  first.join();
  second.join();
  printf("{\"idle\":%f,\"done\":[%d,%d]}\n", idle, int(done[0]), int(done[1]));
}
