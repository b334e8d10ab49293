// The policy's functions as abi.h wants them: which kernels run, with what grids. Grids follow from shape and hints
// alone; kernels find rows, lengths and tables on the device and leave early where there is nothing to do.
#pragma once
#include "accumulate.cuh"
#include "append.cuh"
#include "compact.cuh"
#include "observe.cuh"
#include "prefill.cuh"
#include "probe.cuh"

template <class KV_, int D_>
struct Variant {
  using KV = KV_;
  static constexpr int D = D_;
};

static inline Step step_of(const skv_step* s, int32_t layer) {
  const skv_shape& h = *s->shape;
  Step out;
  out.layers = h.layers;
  out.kv_heads = h.kv_heads;
  out.group = h.group;
  out.page_words = h.page_bytes / 4;
  out.table_stride = h.table_stride;
  out.io_type = h.io_type;
  out.max_slots = h.max_slots;
  out.rope_interleaved = h.rope_interleaved;
  out.self = s->self;
  out.layer = layer;
  out.rows = s->rows;
  out.scale = h.scale;
  out.soft_cap = h.soft_cap;
  out.window = h.layer[layer].window;
  out.inv_freq = h.layer[layer].inv_freq;
  out.row = s->row;
  out.pool = (uint32_t*)s->pool;
  out.tables = s->tables;
  out.lengths = s->lengths;
  out.budgets = s->budgets;
  out.params = s->params;
  out.classes = s->classes;
  out.q = (const uint32_t*)s->q;
  out.k = (const uint32_t*)s->k;
  out.v = (const uint32_t*)s->v;
  out.out = (uint32_t*)s->out;
  out.lse = s->lse;
  out.logits = s->logits;
  return out;
}

// Tells the emulation which arrays this step's kernels may touch, at the sizes that abi.h gives them.
static inline void expose_step(const skv_step* s, int64_t floats) {
  const skv_shape& h = *s->shape;
  const int64_t heads = (int64_t)h.max_seqs * h.layers * h.kv_heads, io = h.io_type == SKV_F32 ? 4 : 2;
  const int64_t kv = (int64_t)h.max_tokens * h.kv_heads * h.head_dim * io;
  for (int l = 0; l < h.layers; l++)
    if (h.layer[l].inv_freq) expose(h.layer[l].inv_freq, h.head_dim / 2 * 4, "inv_freq");
  expose(s->row, (int64_t)s->rows * sizeof(skv_row), "row");
  expose(s->pool, (int64_t)h.pages * h.page_bytes, "pool");
  expose(s->tables, heads * h.table_stride * 4, "tables");
  expose(s->lengths, heads * 4, "lengths");
  expose(s->budgets, (int64_t)h.max_seqs * h.layers * 4, "budgets");
  expose(s->params, (int64_t)h.max_seqs * SKV_MAX_PARAMS * 4, "params");
  expose(s->classes, (int64_t)h.max_tokens * 4, "classes");
  expose(s->logits, floats * 4, "logits");
  expose(s->q, kv * h.group, "q");
  expose(s->k, kv, "k");
  expose(s->v, kv, "v");
  expose(s->out, kv * h.group, "out");
  expose(s->lse, (int64_t)h.max_tokens * h.kv_heads * h.group * 4, "lse");
}

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

template <class P, class V, int H>
int32_t decode_rows(const skv_step* s, const Step& step, const skv_exec* exec) {
  using KV = typename V::KV;
  // shorter rows are cut finer than the longest: as many splits as any length below can have
  const int splits = s->hints.slots < Tiles::split * Tiles::splits ? splits_of(s->hints.slots) : Tiles::splits;
  const dim3 grid(splits, step.kv_heads * ceil_div(step.group, H * kTileHeads), s->rows);
  return SKV_LAUNCH((decode_kernel<P, KV, V::D, H>), grid, kDecodeThreads, (DecodeMemory<KV, V::D, H>::bytes),
                    exec->stream, step, s->shape->max_rows);
}

template <class P, class V>
int32_t attend_rows(const skv_step* s, int32_t layer, const skv_exec* exec) {
  using T = TileShape<typename V::KV, V::D>;
  const Step step = step_of(s, layer);
  int32_t code = 0;
  if (s->hints.decode_rows > 0)
    code = step.group <= kTileHeads ? decode_rows<P, V, 1>(s, step, exec)
                                    : decode_rows<P, V, DecodeShape<typename V::KV, V::D>::tiles>(s, step, exec);
  if (!code && s->hints.prompt_tokens > 0)
    code = SKV_LAUNCH((prefill_kernel<P, typename V::KV, V::D>),
                      dim3(ceil_div(s->hints.prompt_tokens, tile_tokens(T::rows, step.group)), step.kv_heads, s->rows),
                      kTileThreads, (prefill_shared<typename V::KV, V::D>()), exec->stream, step);
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
    if constexpr (replaces<P>())
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
