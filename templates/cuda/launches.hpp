// How each kernel is launched, for the report of a build: its name as the compiler has it, threads of a block, and the
// shared memory that library.cuh and attention.cuh ask for. One line a kernel on stdout; a test holds it against real
// launches.
#pragma once
#include <cstdio>

#include "cuda/attention.cuh"
#include "cuda/library.cuh"

// `arguments`: of the template, what it knows of a policy first.
static inline void print_launch(const char* kernel, const char* arguments, int threads, int shared) {
  printf("%s<%s>\t%d\t%d\n", kernel, arguments, threads, shared);
}

template <class KV, int D, int H>
void print_decode(const char* kv) {
  char arguments[64];
  snprintf(arguments, sizeof arguments, "Attention, %s, %d, %d", kv, D, H);
  print_launch("decode_kernel", arguments, kDecodeThreads, DecodeMemory<KV, D, H>::bytes);
}

// Of attention.cu.
template <class KV, int D>
void print_attention(const char* kv) {
  char arguments[64];
  snprintf(arguments, sizeof arguments, "Attention, %s, %d", kv, D);
  print_decode<KV, D, 1>(kv);
  if (DecodeShape<KV, D>::tiles > 1) print_decode<KV, D, DecodeShape<KV, D>::tiles>(kv);
  print_launch("prefill_kernel", arguments, kTileThreads, prefill_shared<KV, D>());
}

// Of policy.cu.
template <class P, class KV, int D>
void print_launches(const char* kv) {
  char arguments[64];
  snprintf(arguments, sizeof arguments, "Policy, %s, %d", kv, D);
  print_launch("append_kernel", arguments, kAppendThreads, 0);
  if (P::observes_decode) print_launch("accumulate_kernel", arguments, kAccumulateThreads, 0);
  if (P::observes_prompt) print_launch("observe_kernel", arguments, kTileThreads, observe_shared<KV, D>());
  if (replaces_one<P>()) print_launch("replace_kernel", arguments, kReplaceThreads, kReplaceShared);
  if (P::keep != Keep::all) print_launch("compact_kernel", arguments, kBlockThreads, compact_shared<P>(D));
  printf("raise_kernel\t%d\t0\ncopy_pages_kernel\t%d\t0\n", kPageThreads, kPageThreads);
  print_launch("probe_next_kernel", "Policy", kAcrossThreads, 0);
  print_launch("probe_score_kernel", "Policy", kAcrossThreads, probe_shared<P>(D, 0));
}
