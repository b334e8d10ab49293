// Measures the thread pool alone, one line of "name value" each; threads.test.ts judges them.
//   threads CPU CPU   two processors to pin to, possibly the same one twice
#include "threads.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

using Clock = std::chrono::steady_clock;

static double seconds(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

static double processor_seconds() {
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
}

static void busy(double us) {
  for (const auto start = Clock::now(); seconds(start) * 1e6 < us;) {
  }
}

/* Median microseconds of a section of two empty items, each after `gap`. */
static double section(skv::Threads& threads, std::chrono::microseconds gap, int runs) {
  std::vector<double> us;
  std::atomic<int> items{0};
  for (int i = 0; i < runs; i++) {
    if (gap.count()) std::this_thread::sleep_for(gap);
    const auto start = Clock::now();
    threads.each(2, [&](int32_t, int32_t) { items++; });
    us.push_back(seconds(start) * 1e6);
  }
  if (items != 2 * runs) exit(3);
  std::nth_element(us.begin(), us.begin() + runs / 2, us.end());
  return us[runs / 2];
}

int main(int, char** argv) {
  const std::vector<int> cpus = {atoi(argv[1]), atoi(argv[2])};
  skv::Threads threads(2, cpus);
  /* every item runs once, whatever the number */
  for (int items = 0; items < 500; items++) {
    std::atomic<int64_t> sum{0};
    threads.each(items, [&](int32_t item, int32_t) { sum += item + 1; });
    if (sum != int64_t(items) * (items + 1) / 2) return 2;
  }
  printf("hot %f\n", section(threads, std::chrono::microseconds(0), 2000));
  printf("cold %f\n", section(threads, std::chrono::microseconds(2000), 200));
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  printf("idle %f\n", processor_seconds() - before);

  /* two pools on the same processors, sections of 2 x 50 us of work for one second: how many each gets through */
  double rates[2], alone = 0;
  auto run = [&](double* rate) {
    skv::Threads pool(2, cpus);
    int done = 0;
    const auto start = Clock::now();
    while (seconds(start) < 1) pool.each(2, [](int32_t, int32_t) { busy(50); }), done++;
    *rate = done / seconds(start);
  };
  std::thread(run, &alone).join();
  std::thread first(run, &rates[0]), second(run, &rates[1]);
  first.join(), second.join();
  printf("alone %f\nshared0 %f\nshared1 %f\n", alone, rates[0], rates[1]);
}
