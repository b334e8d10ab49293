/* Preloaded into the process that runs llama.cpp, so that it is measured at its best and charged with its own time
 * alone:
 *
 * - the time inside llama_decode is added up in a file that bench/peers/llama.ts reads, so that a token's way through
 *   JavaScript is not llama.cpp's;
 * - SKV_PEER_CPUS=0,1 gives each context a ggml_threadpool of its own, one pinned thread a processor, kept between
 *   tokens, as llama-bench does with --cpu-mask and --cpu-strict. node-llama-cpp has no switch for it, and without it
 *   every token starts its threads anew wherever the system likes;
 * - SKV_PEER_LIBRARIES=x64,haswell leaves ggml those of its builds for one processor or another, so that it can be
 *   held to the instruction set that skv is held to.
 *
 * Declared here as llama.cpp and ggml have them; both structs are public and old. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

struct llama_batch {
  int32_t n_tokens;
  int32_t* token;
  float* embd;
  int32_t* pos;
  int32_t* n_seq_id;
  int32_t** seq_id;
  int8_t* logits;
};

struct ggml_threadpool_params {
  bool cpumask[512];
  int n_threads;
  int prio;
  uint32_t poll;
  bool strict_cpu;
  bool paused;
};

/* [nanoseconds inside llama_decode, calls, threads pinned] */
static uint64_t nowhere[3];
static volatile uint64_t* counters = nowhere;
static int cpus[512], cpu_count;

__attribute__((constructor)) static void start() {
  const char* path = getenv("SKV_PEER_CLOCK");
  if (path) {
    const int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd >= 0 && ftruncate(fd, sizeof nowhere) == 0) {
      void* shared = mmap(nullptr, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (shared != MAP_FAILED) counters = static_cast<uint64_t*>(shared);
    }
    if (fd >= 0) close(fd);
  }
  const char* list = getenv("SKV_PEER_CPUS");
  for (char* at = const_cast<char*>(list); at && *at && cpu_count < 512; at += *at == ',')
    cpus[cpu_count++] = int(strtol(at, &at, 10));
}

/* ggml gives its pool's workers the first processors and the thread that calls the last. Node may call from any thread.
 */
static void pin_caller() {
  static thread_local bool done;
  if (done || cpu_count == 0) return;
  done = true;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus[cpu_count - 1], &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/* A symbol of a library whose name holds `part` and that is loaded already, wherever its loader hid it. */
struct Search {
  const char *part, *symbol;
  void* found;
};

static int look(dl_phdr_info* info, size_t, void* arg) {
  auto* search = static_cast<Search*>(arg);
  if (!info->dlpi_name || !strstr(info->dlpi_name, search->part)) return 0;
  if (void* library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD)) search->found = dlsym(library, search->symbol);
  return search->found != nullptr;
}

template <class Fn>
static Fn symbol_of(const char* part, const char* symbol) {
  Search search = {part, symbol, nullptr};
  dl_iterate_phdr(look, &search);
  return reinterpret_cast<Fn>(search.found);
}

/* A pool for a context that has none yet. */
static void attach(void* context) {
  static void* known[16];
  static int count;
  for (int i = 0; i < count; i++)
    if (known[i] == context) return;
  if (count == 16 || cpu_count == 0) return;
  known[count++] = context;
  auto create = symbol_of<void* (*)(ggml_threadpool_params*)>("libggml-cpu", "ggml_threadpool_new");
  auto attach_to = symbol_of<void (*)(void*, void*, void*)>("libllama.", "llama_attach_threadpool");
  if (!create || !attach_to) return;
  ggml_threadpool_params params = {};
  params.n_threads = cpu_count;
  params.poll = 50;
  params.strict_cpu = true;
  for (int i = 0; i < cpu_count; i++) params.cpumask[cpus[i]] = true;
  void* pool = create(&params);
  if (!pool) return;
  attach_to(context, pool, pool);
  counters[2] = uint64_t(cpu_count);
}

/* Whether ggml may have this file: one of its builds for a processor, but not one of those that are named. */
static bool held_back(const char* file) {
  const char* allowed = getenv("SKV_PEER_LIBRARIES");
  const char* build = file ? strstr(file, "libggml-cpu-") : nullptr;
  if (!allowed || !*allowed || !build) return false;
  build += strlen("libggml-cpu-");
  const size_t length = strcspn(build, ".");
  while (*allowed) {
    const size_t name = strcspn(allowed, ",");
    if (name == length && !strncmp(allowed, build, length)) return false;
    allowed += name + (allowed[name] == ',');
  }
  return true;
}

extern "C" __attribute__((visibility("default"))) void* dlopen(const char* file, int mode) {
  static auto real = reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));
  return held_back(file) ? nullptr : real(file, mode);
}

extern "C" __attribute__((visibility("default"))) int32_t llama_decode(void* context, llama_batch batch) {
  static auto real = symbol_of<int32_t (*)(void*, llama_batch)>("libllama.", "llama_decode");
  pin_caller();
  attach(context);
  timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  const int32_t code = real(context, batch);
  clock_gettime(CLOCK_MONOTONIC, &b);
  counters[0] = counters[0] + uint64_t(b.tv_sec - a.tv_sec) * 1000000000u + uint64_t(b.tv_nsec) - uint64_t(a.tv_nsec);
  counters[1] = counters[1] + 1;
  return code;
}
