// attend as abi.h wants it: which kernels run, with what grids. A is all that they know of a policy.
#pragma once
#include "decode.cuh"
#include "launch.cuh"
#include "prefill.cuh"

template <class A, class V, int H>
int32_t decode_rows(const skv_step* s, const Step& step, const skv_exec* exec) {
  using KV = typename V::KV;
  // shorter rows are cut finer than the longest: as many splits as any length below can have
  const int splits = s->hints.slots < Tiles::split * Tiles::splits ? splits_of(s->hints.slots) : Tiles::splits;
  const dim3 grid(splits, step.kv_heads * ceil_div(step.group, H * kTileHeads), s->rows);
  return SKV_LAUNCH((decode_kernel<A, KV, V::D, H>), grid, kDecodeThreads, (DecodeMemory<KV, V::D, H>::bytes),
                    exec->stream, step, s->shape->max_rows);
}

template <class A, class V>
int32_t attend_rows(const skv_step* s, int32_t layer, const skv_exec* exec) {
  using T = TileShape<typename V::KV, V::D>;
  const Step step = step_of(s, layer);
  int32_t code = 0;
  if (s->hints.decode_rows > 0)
    code = step.group <= kTileHeads ? decode_rows<A, V, 1>(s, step, exec)
                                    : decode_rows<A, V, DecodeShape<typename V::KV, V::D>::tiles>(s, step, exec);
  if (!code && s->hints.prompt_tokens > 0)
    code = SKV_LAUNCH((prefill_kernel<A, typename V::KV, V::D>),
                      dim3(ceil_div(s->hints.prompt_tokens, tile_tokens(T::rows, step.group)), step.kv_heads, s->rows),
                      kTileThreads, (prefill_shared<typename V::KV, V::D>()), exec->stream, step);
  return code;
}
