// The policy's functions as abi.h wants them: which kernels run, with what grids. Grids follow from shape and hints
// alone; kernels find rows, lengths and tables on the device and leave early where there is nothing to do.
#pragma once
#include "accumulate.cuh"
#include "append.cuh"
#include "compact.cuh"
#include "launch.cuh"
#include "observe.cuh"
#include "probe.cuh"

// attend, from attention.cu: a library of its own, which is linked to every policy of these traits.
__attribute__((visibility("hidden"))) int32_t attention(const skv_step* step, int32_t layer, const skv_exec* exec);

// Shapes that no variant runs.
template <class P>
int32_t limits_of(const skv_shape* s) {
  if (s->group > kObserveRows) return SKV_E_SHAPE;  // a token's rows lie in one tile
  if (P::keep != Keep::all && P::heads != Heads::own && s->kv_heads > kMostHeads) return SKV_E_HEADS;
  return tables_fit(P::table_layers, P::table_heads, s) ? 0 : SKV_E_TABLE;
}

template <class P, class V>
int32_t append_rows(const skv_step* s, int32_t layer, const skv_exec* exec) {
  const Step step = step_of(s, layer);
  const int heads = step.kv_heads, tokens = s->hints.prompt_tokens > 1 ? s->hints.prompt_tokens : 1;
  const dim3 grid(ceil_div(tokens, kAppendTokens), heads, s->rows);
  int32_t code = SKV_LAUNCH((append_kernel<P, typename V::KV, V::D>), grid, kAppendThreads, 0, exec->stream, step);
  if (!code && tokens > kAppendTokens)
    code = SKV_LAUNCH(raise_kernel, dim3(ceil_div(s->rows * heads, kPageThreads)), kPageThreads, 0, exec->stream, step);
  return code;
}

template <class P, class V>
int32_t observe_rows(const skv_step* s, int32_t layer, const skv_exec* exec) {
  const Step step = step_of(s, layer);
  int32_t code = 0;
  if (step.window) return 0;  // its slots have no worth
  if constexpr (P::observes_decode)
    if (s->hints.decode_rows > 0) {
      const int slots = kAccumulateThreads / next_lanes<P>();
      const dim3 grid(ceil_div(s->hints.slots, slots), step.kv_heads, s->rows);
      code = SKV_LAUNCH((accumulate_kernel<P, typename V::KV, V::D>), grid, kAccumulateThreads, 0, exec->stream, step,
                        s->shape->max_rows);
    }
  if constexpr (P::observes_prompt)
    if (!code && s->hints.observed_tokens > 0)
      code = SKV_LAUNCH((observe_kernel<P, typename V::KV, V::D>),
                        dim3(ceil_div(s->hints.slots, (observe_slots<typename V::KV, V::D>())), step.kv_heads, s->rows),
                        kTileThreads, (observe_shared<typename V::KV, V::D>()), exec->stream, step);
  return code;
}

template <class P, class V>
int32_t compact_rows(const skv_step* s, const skv_exec* exec) {
  if constexpr (P::keep == Keep::all) {
    return 0;
  } else {
    if (s->hints.compact_rows == 0) return 0;
    expose(exec->scratch, exec->scratch_bytes, "scratch");
    const Step step = step_of(s, 0);
    const int units = step.layers * (P::heads == Heads::own ? step.kv_heads : 1);
    const int blocks = smaller(s->rows * units, compact_blocks<P>(step.kv_heads, step.max_slots));
    int32_t code = 0;
    if constexpr (replaces_one<P>())
      code = SKV_LAUNCH((replace_kernel<P, typename V::KV, V::D>), dim3(units, s->rows), kReplaceThreads,
                        kReplaceShared, exec->stream, step);
    if (!code)
      code = SKV_LAUNCH((compact_kernel<P, typename V::KV, V::D>), dim3(blocks), kBlockThreads, compact_shared<P>(V::D),
                        exec->stream, step, (uint32_t*)exec->scratch);
    return code;
  }
}

template <class P>
int64_t scratch_of(const skv_shape* s) {
  if (P::keep == Keep::all) return 64;
  const int64_t units = (int64_t)s->max_rows * s->layers * (P::heads == Heads::own ? s->kv_heads : 1);
  const int64_t blocks = compact_blocks<P>(s->kv_heads, s->max_slots);
  return (units < blocks ? units : blocks) * unit_words<P>(s->kv_heads, s->max_slots) * 4;
}

template <class P>
int64_t floats_of(const skv_shape* s) {
  return StepScratch::floats(s, P::observes_decode);
}

static inline int32_t copy_pages(const skv_step* s, const int32_t* pairs, int32_t n, const skv_exec* exec) {
  expose(s->pool, (int64_t)s->shape->pages * s->shape->page_bytes, "pool");
  expose(pairs, (int64_t)n * 8, "pairs");
  return SKV_LAUNCH(copy_pages_kernel, dim3(n), kPageThreads, 0, exec->stream, (uint32_t*)s->pool,
                    s->shape->page_bytes / 4, pairs);
}

static inline const char* error_of(int32_t code) {
  return code >= SKV_E_DEVICE ? device_error(code - SKV_E_DEVICE) : skv_error_text(code);
}
