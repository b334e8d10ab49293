/* Preloaded into the process that runs llama.cpp, so that it is measured at its best and charged with its own time alone:
 *
 * - the time inside llama_decode is added up in a file that bench/peers/llama.ts reads, so that a token's way through
 *   JavaScript is not llama.cpp's;
 * - SKV_PEER_CPUS=0,1 gives each context a ggml_threadpool of its own, one pinned thread a processor, kept between
 *   tokens, as llama-bench does with --cpu-mask and --cpu-strict. node-llama-cpp has no switch for it, and without it
 *   every token starts its threads anew wherever the system likes.
 *
 * Declared here as llama.cpp and ggml have them; both structs are public and old. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

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
static volatile uint64_t* counters;
static int cpus[512], cpu_count;

__attribute__((constructor)) static void start(void) {
  const char* path = getenv("SKV_PEER_CLOCK");
  static uint64_t nowhere[3];
  counters = nowhere;
  if (path) {
    const int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd >= 0 && ftruncate(fd, sizeof nowhere) == 0) {
      void* shared = mmap(NULL, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      if (shared != MAP_FAILED) counters = shared;
    }
    if (fd >= 0) close(fd);
  }
  const char* list = getenv("SKV_PEER_CPUS");
  for (char* at = (char*)list; at && *at && cpu_count < 512; at += *at == ',') cpus[cpu_count++] = (int)strtol(at, &at, 10);
}

static void pin_caller(void) {
  static __thread bool done;
  if (done || cpu_count == 0) return;
  done = true;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpus[0], &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/* A symbol of a library whose name holds `part` and that is loaded already, wherever its loader hid it. */
struct search {
  const char* part;
  const char* symbol;
  void* found;
};

static int look(struct dl_phdr_info* info, size_t size, void* arg) {
  (void)size;
  struct search* search = arg;
  if (!info->dlpi_name || !strstr(info->dlpi_name, search->part)) return 0;
  void* library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
  if (library) search->found = dlsym(library, search->symbol);
  return search->found != NULL;
}

static void* symbol_of(const char* part, const char* symbol) {
  struct search search = {part, symbol, NULL};
  dl_iterate_phdr(look, &search);
  return search.found;
}

/* A pool for a context that has none yet. */
static void attach(void* context) {
  static void* known[16];
  static int count;
  for (int i = 0; i < count; i++)
    if (known[i] == context) return;
  if (count == 16 || cpu_count == 0) return;
  known[count++] = context;
  void* (*create)(struct ggml_threadpool_params*) = symbol_of("libggml-cpu", "ggml_threadpool_new");
  void (*attach_to)(void*, void*, void*) = symbol_of("libllama.", "llama_attach_threadpool");
  if (!create || !attach_to) return;
  struct ggml_threadpool_params params = {.n_threads = cpu_count, .poll = 50, .strict_cpu = true};
  for (int i = 0; i < cpu_count; i++) params.cpumask[cpus[i]] = true;
  void* pool = create(&params);
  if (!pool) return;
  attach_to(context, pool, pool);
  counters[2] = (uint64_t)cpu_count;
}

int32_t llama_decode(void* context, struct llama_batch batch) {
  static int32_t (*real)(void*, struct llama_batch);
  if (!real) real = symbol_of("libllama.", "llama_decode");
  pin_caller();
  attach(context);
  struct timespec a, b;
  clock_gettime(CLOCK_MONOTONIC, &a);
  const int32_t code = real(context, batch);
  clock_gettime(CLOCK_MONOTONIC, &b);
  counters[0] += (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000u + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
  counters[1] += 1;
  return code;
}
