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

/* The activations of some tokens, counted from the first; x [token][cols]. */
Activations Engine::part(const Tokens& some, const Quantised& to, const float* x, int cols) const {
  const size_t first = some.first, block = first * to.blocks();
  return {cols,          x + first * cols, cols, &to.q[first * to.cols], &to.scale[block], &to.scaled_sum[block],
          &to.sum[block]};
}

/* One token's activations x, when they come in whole blocks. */
void Engine::quantise(const Activations& to, int32_t i, const float* x) const {
  if (to.cols % kBlock == 0) isa_->quantize(to, i, x, 0, to.cols / kBlock);
}

/* The norm of a token's residual stream, ready for products. It is written where others read it only if they will. */
void Engine::normalise(const Tokens& some, int32_t i, int32_t worker, const float* gain, const Activations& to) {
  const int width = model_.width;
  const size_t t = some.first + i;
  float* normed = weights_.plain ? &h_[t * width] : &normed_[size_t(worker) * width];
  rms_norm(&x_[t * width], gain, model_.norm_eps, width, normed);
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
      if (g0 < g1) isa_->product(*out.w, a, 0, some.n, g0, g1, out.to + size_t(some.first) * out.stride, out.stride);
      base += out.w->groups();
    }
  };
  if (some.alone) return run(0, 0);
  threads_.each_near((groups + size - 1) / size, run);
}

/* silu(gate) * up: who has made 32 neighbours of both goes on with them. */
void Engine::gate_up(const Tokens& some, const Layer& layer, const Activations& normed, const Activations& gated) {
  const int ffn = model_.ffn, blocks = (ffn + kBlock - 1) / kBlock, n = some.n;
  const int size = some.alone ? 4 : piece_groups(blocks, layer.gate.bytes() + layer.up.bytes(), threads_.count());
  float *gate = &gate_[size_t(some.first) * ffn], *up = &up_[size_t(some.first) * ffn];
  auto run = [&](int32_t piece, int32_t) {
    const int block0 = piece * size, block1 = std::min(block0 + size, blocks), from = block0 * kBlock;
    const int group0 = from / kRows, group1 = std::min(block1 * kBlock / kRows, layer.gate.groups());
    isa_->product(layer.gate, normed, 0, n, group0, group1, gate, ffn);
    isa_->product(layer.up, normed, 0, n, group0, group1, up, ffn);
    for (int i = 0; i < n; i++) {
      float* x = gate + size_t(i) * ffn;
      silu_multiply(x + from, up + size_t(i) * ffn + from, std::min(block1 * kBlock, ffn) - from);
      if (ffn % kBlock == 0) isa_->quantize(gated, i, x, block0, block1);
    }
  };
  const int pieces = (blocks + size - 1) / size;
  if (!some.alone) return threads_.each_near(pieces, run);
  for (int32_t piece = 0; piece < pieces; piece++) run(piece, some.worker);
}

/* x += h: what the last product added to the residual stream. */
void Engine::add_residual(const Tokens& some) {
  const size_t width = model_.width;
  over(some, [&](int32_t i, int32_t) { add(&x_[(some.first + i) * width], &h_[(some.first + i) * width], width); });
}

/* From the residual stream to rotated queries, keys and values. */
void Engine::start_layer(int l, const Tokens& some) {
  const Layer& layer = weights_.layer[l];
  const int width = model_.width, dim = model_.head_dim, heads = model_.heads, kv_heads = model_.kv_heads;
  const Activations a = part(some, input_, h_.data(), width);
  over(some, [&](int32_t i, int32_t worker) {
    const size_t t = some.first + i;
    if (l > 0) add(&x_[t * width], &h_[t * width], width);
    normalise(some, i, worker, layer.attn_norm, a);
  });
  project(some, a,
          {{&layer.q, q_.data(), heads * dim},
           {&layer.k, k_.data(), kv_heads * dim},
           {&layer.v, v_.data(), kv_heads * dim}});
  over(some, [&](int32_t i, int32_t) {
    const size_t t = some.first + i;
    const float *c = &cos_[t * dim / 2], *s = &sin_[t * dim / 2];
    for (int h = 0; h < heads; h++) rope(&q_[(t * heads + h) * dim], c, s, dim, model_.rope_interleaved);
    for (int h = 0; h < kv_heads; h++) rope(&k_[(t * kv_heads + h) * dim], c, s, dim, model_.rope_interleaved);
  });
}

/* From attention's output to h_, which is still to be added to the residual stream. */
void Engine::finish_layer(int l, const Tokens& some) {
  const Layer& layer = weights_.layer[l];
  const int width = model_.width, ffn = model_.ffn, q = model_.heads * model_.head_dim;
  const Activations attended = part(some, input_, attended_.data(), q);
  over(some, [&](int32_t i, int32_t) { quantise(attended, i, &attended_[size_t(some.first + i) * q]); });
  project(some, attended, {{&layer.o, h_.data(), width}});
  const Activations normed = part(some, input_, h_.data(), width);
  over(some, [&](int32_t i, int32_t worker) {
    const size_t t = some.first + i;
    add(&x_[t * width], &h_[t * width], width);
    normalise(some, i, worker, layer.ffn_norm, normed);
  });
  const Activations gated = part(some, gated_, gate_.data(), ffn);
  gate_up(some, layer, normed, gated);
  project(some, gated, {{&layer.down, h_.data(), width}});
}

}  // namespace skv
