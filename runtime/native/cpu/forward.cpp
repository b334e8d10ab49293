#include "forward.h"

#include <algorithm>

#include "elementwise.h"

namespace skv {

/* fn(token counted from the first, worker): a token has the same worker in every section of a step. */
template <class Fn>
void Engine::over(const Tokens& some, Fn&& fn) {
  if (!some.alone) return threads_.each_own(some.n, fn);
  for (int32_t i = 0; i < some.n; i++) fn(i, some.worker);
}

/* The activations of some tokens, counted from the first, and where they are quantised; x [token][cols]. */
Activations Engine::part(const Tokens& some, const float* x, int cols) const {
  const size_t pair = some.passing() * pairs_of(widest_);
  return {cols, x, cols, &int8_[pair * kPair], &scale_[pair], &sum_[pair * 2], &offset_[pair * 2]};
}

/* One token's activations x, when they come in whole blocks. */
void Engine::quantise(const Activations& to, int32_t i, const float* x) const {
  if (to.cols % kBlock == 0) isa_->quantise(to, i, x);
}

/* The norm of a token's residual stream, ready for products. It is written where others read it only if they will. */
void Engine::normalise(const Tokens& some, int32_t i, int32_t worker, const float* gain, const Activations& to) {
  const size_t width = model_.width;
  float* normed = weights_.plain ? &h_[(some.passing() + i) * width] : &normed_[worker * width];
  rms_norm(&x_[(some.first + i) * width], gain, model_.norm_eps, model_.width, normed);
  quantise(to, i, normed);
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
      if (g0 < g1) isa_->product(*out.w, a, 0, some.n, g0, g1, out.to, out.stride);
      base += out.w->groups();
    }
  };
  if (some.alone) return run(0, 0);
  threads_.each_near((groups + size - 1) / size, run);
}

/* x += h: what the last product added to the residual stream. */
void Engine::add_residual(const Tokens& some) {
  const size_t width = model_.width;
  over(some, [&](int32_t i, int32_t) { add(&x_[(some.first + i) * width], &h_[(some.passing() + i) * width], width); });
}

/* From the residual stream to rotated queries, keys and values. */
void Engine::start_layer(int l, const Tokens& some) {
  const Layer& layer = weights_.layer[l];
  const int width = model_.width, dim = model_.head_dim, heads = model_.heads, kv_heads = model_.kv_heads;
  const size_t first = some.first;
  float* h = &h_[some.passing() * width];
  const Activations a = part(some, h, width);
  over(some, [&](int32_t i, int32_t worker) {
    if (l > 0) add(&x_[(first + i) * width], h + size_t(i) * width, width);
    normalise(some, i, worker, layer.attn_norm, a);
  });
  project(some, a,
          {{&layer.q, &q_[first * heads * dim], heads * dim},
           {&layer.k, &k_[first * kv_heads * dim], kv_heads * dim},
           {&layer.v, &v_[first * kv_heads * dim], kv_heads * dim}});
  over(some, [&](int32_t i, int32_t) {
    const size_t t = first + i;
    const float *c = &cos_[t * dim / 2], *s = &sin_[t * dim / 2];
    for (int h = 0; h < heads; h++) rope(&q_[(t * heads + h) * dim], c, s, dim, model_.rope_interleaved);
    for (int h = 0; h < kv_heads; h++) rope(&k_[(t * kv_heads + h) * dim], c, s, dim, model_.rope_interleaved);
  });
}

/* From attention's output to h_, which is still to be added to the residual stream. */
void Engine::finish_layer(int l, const Tokens& some) {
  const Layer& layer = weights_.layer[l];
  const size_t width = model_.width, ffn = model_.ffn, q = size_t(model_.heads) * model_.head_dim;
  const float* from = &attended_[some.first * q];
  float *h = &h_[some.passing() * width], *gate = &gate_[some.passing() * ffn], *up = &up_[some.passing() * ffn];
  const Activations attended = part(some, from, int(q));
  over(some, [&](int32_t i, int32_t) { quantise(attended, i, from + i * q); });
  project(some, attended, {{&layer.o, h, int(width)}});
  const Activations normed = part(some, h, int(width));
  over(some, [&](int32_t i, int32_t worker) {
    add(&x_[(some.first + i) * width], h + i * width, int(width));
    normalise(some, i, worker, layer.ffn_norm, normed);
  });
  project(some, normed, {{&layer.gate, gate, int(ffn)}, {&layer.up, up, int(ffn)}});
  const Activations gated = part(some, gate, int(ffn));
  over(some, [&](int32_t i, int32_t) {
    silu_multiply(gate + i * ffn, up + i * ffn, int(ffn));
    quantise(gated, i, gate + i * ffn);
  });
  project(some, gated, {{&layer.down, h, int(width)}});
}

}  // namespace skv
