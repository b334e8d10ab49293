#include "forward.h"

#include <algorithm>

#include "elementwise.h"

namespace skv {

template <class Fn>
void Engine::over(const Tokens& some, int32_t items, Fn&& fn) {
  if (!some.alone) return threads_.each(items, [&](int32_t item, int32_t) { fn(item); });
  for (int32_t item = 0; item < items; item++) fn(item);
}

/* The activations of some tokens, counted from the first; x [token][cols]. */
Activations Engine::part(const Tokens& some, const float* x, int cols) const {
  const size_t first = some.first, blocks = first * (widest_ / kBlock + 1);
  return {cols, x + first * cols, cols, &int8_[first * widest_], &scale_[blocks], &scaled_sum_[blocks], &sum_[blocks]};
}

/* One token's activations, when they come in whole blocks. */
void Engine::quantise(const Activations& a, int32_t t) const {
  if (a.cols % kBlock == 0) isa_->quantize(a, t, t + 1);
}

void Engine::quantise(const Tokens& some, const Activations& a) {
  over(some, some.n, [&](int32_t t) { quantise(a, t); });
}

/* Products with several matrices of the same input. */
void Engine::project(const Tokens& some, const Activations& a, std::initializer_list<Out> outs) {
  int groups = 0;
  size_t bytes = 0;
  for (const Out& out : outs) groups += out.w->groups(), bytes += out.w->bytes();
  const int size = some.alone ? groups : piece_groups(groups, bytes, threads_.count());
  auto run = [&](int32_t piece, int32_t) {
    int first = piece * size, last = std::min(groups, first + size), base = 0;
    for (const Out& out : outs) {
      const int g0 = std::max(first - base, 0), g1 = std::min(last - base, out.w->groups());
      if (g0 < g1) isa_->product(*out.w, a, 0, some.n, g0, g1, out.to + size_t(some.first) * out.stride, out.stride);
      base += out.w->groups();
    }
  };
  if (some.alone) return run(0, 0);
  threads_.each_near((groups + size - 1) / size, run);
}

/* x += h: what the last product added to the residual stream. */
void Engine::add_residual(const Tokens& some) {
  const int width = model_.width;
  over(some, some.n,
       [&](int32_t t) { add(&x_[size_t(some.first + t) * width], &h_[size_t(some.first + t) * width], width); });
}

/* From the residual stream to rotated queries, keys and values. */
void Engine::start_layer(int l, const Tokens& some) {
  const Layer& layer = weights_.layer[l];
  const int width = model_.width, dim = model_.head_dim, heads = model_.heads, kv_heads = model_.kv_heads;
  const Activations a = part(some, h_.data(), width);
  over(some, some.n, [&](int32_t i) {
    const size_t t = some.first + i;
    if (l > 0) add(&x_[t * width], &h_[t * width], width);
    rms_norm(&x_[t * width], layer.attn_norm, model_.norm_eps, width, &h_[t * width]);
    quantise(a, i);
  });
  project(some, a,
          {{&layer.q, q_.data(), heads * dim},
           {&layer.k, k_.data(), kv_heads * dim},
           {&layer.v, v_.data(), kv_heads * dim}});
  over(some, some.n, [&](int32_t i) {
    const size_t t = some.first + i;
    const float *c = &cos_[t * dim / 2], *s = &sin_[t * dim / 2];
    for (int h = 0; h < heads; h++) rope(&q_[(t * heads + h) * dim], c, s, dim, model_.rope_interleaved);
    for (int h = 0; h < kv_heads; h++) rope(&k_[(t * kv_heads + h) * dim], c, s, dim, model_.rope_interleaved);
  });
}

/* From attention's output to h_, which is still to be added to the residual stream. */
void Engine::finish_layer(int l, const Tokens& some) {
  const Layer& layer = weights_.layer[l];
  const int width = model_.width, ffn = model_.ffn;
  const Activations attended = part(some, attended_.data(), model_.heads * model_.head_dim);
  quantise(some, attended);
  project(some, attended, {{&layer.o, h_.data(), width}});
  const Activations normed = part(some, h_.data(), width);
  over(some, some.n, [&](int32_t i) {
    const size_t t = some.first + i;
    add(&x_[t * width], &h_[t * width], width);
    rms_norm(&x_[t * width], layer.ffn_norm, model_.norm_eps, width, &h_[t * width]);
    quantise(normed, i);
  });
  project(some, normed, {{&layer.gate, gate_.data(), ffn}, {&layer.up, up_.data(), ffn}});
  const Activations gated = part(some, gate_.data(), ffn);
  over(some, some.n, [&](int32_t i) {
    const size_t t = some.first + i;
    silu_multiply(&gate_[t * ffn], &up_[t * ffn], ffn);
    quantise(gated, i);
  });
  project(some, gated, {{&layer.down, h_.data(), width}});
}

}  // namespace skv
