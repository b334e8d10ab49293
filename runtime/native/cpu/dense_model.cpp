#include "dense_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "elementwise.h"

namespace skv {
namespace {

/* Most tokens that one worker takes through a layer's products: their activations stay in its second-level cache. */
constexpr int kWorkerTokens = 32;
/* Ranges are whole tiles of products, but for the last. */
constexpr int kTile = 8;
/* Inputs of q, k, v and of the output keep their outliers apart: half of what int8 costs, for a sixth of a prompt's
 * products (docs/performance.md). */
constexpr bool kOutliersApart = true;

/* Rows of scratch that a step of so many tokens needs. */
int scratch_rows(const Threads& threads, bool prompts_apart, int max_tokens) {
  const int shared = prompts_apart ? std::min(max_tokens, kPromptTokens) : 0;
  return std::max({threads.count() * kWorkerTokens, SKV_KEPT_LOGITS, shared});
}

const Isa* required_isa() {
  const Isa* isa = find_isa(nullptr);
  if (!isa) throw std::runtime_error("SKV_ISA names a path that this processor or build does not have");
  return isa;
}

/* Refuses a model whose family asks for what normalise() does not have. */
skv_model checked(const skv_model& m) {
  if (m.norm < SKV_NORM_RMS || m.norm > SKV_NORM_LAYER)
    throw std::runtime_error("this backend has no norm " + std::to_string(m.norm));
  return m;
}

Activate activation(int32_t wanted) {
  switch (wanted) {
    case SKV_ACT_SILU:
      return silu;
    case SKV_ACT_GELU:
      return gelu;
    case SKV_ACT_GELU_TANH:
      return gelu_tanh;
    case SKV_ACT_RELU:
      return relu;
  }
  throw std::runtime_error("this backend has no activation " + std::to_string(wanted));
}

std::vector<int32_t> ropes_of(const skv_model& m) {
  std::vector<int32_t> ropes;
  for (int l = 0; l < m.layers; l++) ropes.push_back(m.layer[l].rope);
  return ropes;
}

int widest_input(const skv_model& m) { return std::max({m.width, m.heads * m.head_dim, m.ffn}); }

}  // namespace

DenseModel::DenseModel(const skv_model& m, int max_tokens, bool exact, const AttentionIo& io, Threads& threads,
                       const Progress& progress)
    : model_(checked(m)),
      exact_(exact),
      inv_freq_(m.inv_freq, m.inv_freq + m.ropes * (m.head_dim / 2)),
      rope_(ropes_of(m)),
      io_(io),
      threads_(threads),
      isa_(required_isa()),
      activate_(activation(m.activation)),
      weights_(m, threads, progress),
      scratch_rows_(scratch_rows(threads, prompts_apart(), max_tokens)),
      by_tiles_(max_tokens),
      x_(size_t(max_tokens) * m.width),
      cos_(size_t(max_tokens) * inv_freq_.size()),
      sin_(size_t(max_tokens) * inv_freq_.size()),
      normed_(size_t(threads.count()) * m.width),
      output_in_(size_t(SKV_KEPT_LOGITS) * m.width),
      h_(size_t(scratch_rows_) * m.width),
      gate_(size_t(scratch_rows_) * m.ffn),
      up_(size_t(scratch_rows_) * m.ffn),
      quantised_(scratch_rows_, widest_input(m)),
      gated_(prompts_apart() ? tile_bytes(scratch_rows_, m.ffn) : 0) {}

size_t DenseModel::TokenRange::scratch_row() const { return one_worker ? size_t(worker) * kWorkerTokens : 0; }

/* fn(range) over n of a step's tokens. Where products of prompts differ, tokens of prompts are in ranges of their own,
 * which all workers share: weights are unpacked once for each. */
template <class Fn>
void DenseModel::for_ranges(int first, int n, Fn&& fn) {
  const auto begin = by_tiles_.begin(), end = begin + first + n;
  for (auto from = begin + first; from < end;) {
    const auto to = std::find(from, end, !*from);
    if (!*from) {
      for_drawn_ranges(int(from - begin), int(to - from), fn);
    } else {
      for (auto next = from; from < to; from = next) {
        next = to - from > kPromptTokens ? from + kPromptTokens : to;
        TokenRange range{int(from - begin), int(next - from)};
        range.by_tiles = true;
        fn(range);
      }
    }
    from = to;
  }
}

/* In ranges of one worker each, when there are enough tokens; else in one range that all workers share. Ranges are as
 * equal as whole tiles allow, and as many for every worker. */
template <class Fn>
void DenseModel::for_drawn_ranges(int first, int n, Fn&& fn) {
  const int workers = threads_.count();
  if (n < 2 * kTile * workers) return fn(TokenRange{first, n});
  const int rounds = (n + kWorkerTokens * workers - 1) / (kWorkerTokens * workers);
  const int tiles = (n + workers * rounds * kTile - 1) / (workers * rounds * kTile), size = tiles * kTile;
  threads_.each((n + size - 1) / size, [&](int32_t i, int32_t worker) {
    fn(TokenRange{first + i * size, std::min(size, n - i * size), true, worker});
  });
}

/* fn(token counted from the range's first, worker). A token has the same worker every time. */
template <class Fn>
void DenseModel::for_tokens(const TokenRange& range, Fn&& fn) {
  if (!range.one_worker) return threads_.each_own(range.n, fn);
  for (int32_t i = 0; i < range.n; i++) fn(i, range.worker);
}

/* The residual stream, and the rotation of each token's position, which a frequency of 0 leaves alone. Not each_own:
 * after a pause between steps workers are still waking. */
void DenseModel::embed(const skv_row* row, int rows, const int32_t* token, const int32_t* position, int tokens) {
  for (const skv_row* end = row + rows; prompts_apart() && row < end; row++)
    for (int i = 0; i < row->tokens; i++) by_tiles_[row->token0 + i] = row->pos0 + i < row->prompt;
  const int width = model_.width;
  const size_t frequencies = inv_freq_.size();
  threads_.each(tokens, [&](int32_t t, int32_t worker) {
    float* x = &x_[size_t(t) * width];
    unpack_row(weights_.embed, token[t], x);
    if (model_.embed_scale != 1) scale(x, model_.embed_scale, width);
    if (model_.positions) {
      float* at = &normed_[size_t(worker) * width];
      unpack_row(weights_.positions, position[t], at);
      add(x, at, 1, width);
    }
    for (size_t i = 0; i < frequencies; i++) {
      const double angle = double(position[t]) * double(inv_freq_[i]), scale = inv_freq_[i] ? model_.rope_scale : 1;
      cos_[t * frequencies + i] = float(std::cos(angle) * scale);
      sin_[t * frequencies + i] = float(std::sin(angle) * scale);
    }
  });
}

void DenseModel::up_to_attention(int layer, int first, int n) {
  for_ranges(first, n, [&](const TokenRange& range) {
    if (layer > 0) after_attention(layer - 1, range);
    before_attention(layer, range);
  });
}

void DenseModel::gather(const int32_t* place, int tokens) {
  const size_t width = model_.width, q = size_t(model_.heads) * model_.head_dim;
  for (int t = 0; t < tokens; t++) {
    const int to = place[t];
    if (to < 0 || to == t) continue;
    by_tiles_[to] = by_tiles_[t];
    std::copy_n(&x_[t * width], width, &x_[to * width]);
    std::copy_n(&io_.out[t * q], q, &io_.out[to * q]);
  }
}

void DenseModel::after_last_attention(int tokens) {
  for_ranges(0, tokens, [&](const TokenRange& range) {
    after_attention(model_.layers - 1, range);
    const size_t width = model_.width;
    float* h = &h_[range.scratch_row() * width];
    const NormWeights& post = weights_.layer.back().ffn_post_norm;
    for_tokens(range, [&](int32_t i, int32_t) { add_residual(&x_[(range.first + i) * width], h + i * width, post); });
  });
}

void DenseModel::logits(const int32_t* place, int n, float* out) {
  const size_t width = model_.width;
  const TokenRange range = {0, n};
  const Activations a = inputs(range, output_in_.data(), model_.width, kOutliersApart);
  for (int i = 0; i < n; i++) {
    float* normed = &output_in_[i * width];
    normalise(&x_[place[i] * width], weights_.output_norm, normed, model_.width);
    if (model_.logit_scale != 1) scale(normed, model_.logit_scale, model_.width);
    quantise(a, i, normed);
  }
  project(range, a, {{&weights_.output, out, model_.vocab}});
  if (model_.logit_cap == 0) return;
  constexpr int kPiece = 8192;
  const int pieces = (model_.vocab + kPiece - 1) / kPiece;
  threads_.each(n * pieces, [&](int32_t i, int32_t) {
    const int first = i % pieces * kPiece;
    soft_cap(out + size_t(i / pieces) * model_.vocab + first, model_.logit_cap, std::min(kPiece, model_.vocab - first));
  });
}

/* From the residual stream to q, k and v of a layer. */
void DenseModel::before_attention(int l, const TokenRange& range) {
  const Layer& layer = weights_.layer[l];
  const int q = model_.heads * model_.head_dim, kv = model_.kv_heads * model_.head_dim;
  const size_t first = range.first;
  const Activations normed =
      add_and_norm(range, l > 0 ? &weights_.layer[l - 1].ffn_post_norm : nullptr, layer.attn_norm, kOutliersApart);
  project(range, normed,
          {{&layer.q, &io_.q[first * q], q}, {&layer.k, &io_.k[first * kv], kv}, {&layer.v, &io_.v[first * kv], kv}});
  for_tokens(range, [&](int32_t i, int32_t) { finish_heads(l, first + i); });
}

/* From attention's output to h, which is still to be added to the residual stream. */
void DenseModel::after_attention(int l, const TokenRange& range) {
  const Layer& layer = weights_.layer[l];
  const size_t row = range.scratch_row(), width = model_.width, ffn = model_.ffn;
  const size_t q = size_t(model_.heads) * model_.head_dim;
  float *h = &h_[row * width], *gate = &gate_[row * ffn], *up = &up_[row * ffn];

  const float* out = &io_.out[range.first * q];
  const Activations attended = inputs(range, out, int(q));
  for_tokens(range, [&](int32_t i, int32_t) { quantise(attended, i, out + i * q); });
  project(range, attended, {{&layer.o, h, int(width)}});

  const Activations normed = add_and_norm(range, &layer.attn_post_norm, layer.ffn_norm);
  if (range.by_tiles && layer.gate.w.data && by_bf16(layer.gate.w) && by_bf16(layer.up.w) && by_bf16(layer.down.w))
    return project(range, gate_by_tiles(range, layer, normed), {{&layer.down, h, int(width)}});
  const bool is_gated = layer.gate.w.data;
  if (is_gated)
    project(range, normed, {{&layer.gate, gate, int(ffn)}, {&layer.up, up, int(ffn)}});
  else
    project(range, normed, {{&layer.up, gate, int(ffn)}});

  const Activations gated = inputs(range, gate, int(ffn));
  for_tokens(range, [&](int32_t i, int32_t) {
    activate_(gate + i * ffn, is_gated ? up + i * ffn : nullptr, int(ffn));
    quantise(gated, i, gate + i * ffn);
  });
  project(range, gated, {{&layer.down, h, int(width)}});
}

/* Inputs of a layer's last product, of a prompt's tokens: gate and up are multiplied block by block of them, and never
 * leave the caches. */
Activations DenseModel::gate_by_tiles(const TokenRange& range, const Layer& layer, const Activations& normed) {
  Activations gated = inputs(range, nullptr, model_.ffn);
  gated.tiles = gated_.data();
  const int blocks = model_.ffn / kBlock;
  const int size = piece_groups(blocks, layer.gate.w.bytes() + layer.up.w.bytes(), threads_.count(), false);
  for_pieces(range, (blocks + size - 1) / size, [&](int piece, int token0, int token1) {
    isa_->of_prompts.gated(layer.gate, layer.up, normed, token0, token1, piece * size,
                           std::min(blocks, (piece + 1) * size), activate_, gated);
  });
  return gated;
}

/* fn(piece, tokens [from, to)) on all workers, for pieces of a product and all of a range's tokens; by tiles in slices
 * of the tokens too where there are more workers than pieces, though each slice unpacks the weights. */
template <class Fn>
void DenseModel::for_pieces(const TokenRange& range, int pieces, Fn&& fn) {
  constexpr int kLeast = 32; /* tokens of a slice */
  const int wanted = range.by_tiles ? std::min((threads_.count() + pieces - 1) / pieces, range.n / kLeast) : 1;
  const int slices = std::max(wanted, 1), size = (range.n + slices * kLeast - 1) / (slices * kLeast) * kLeast;
  threads_.each_near(pieces * slices, [&](int32_t item, int32_t) {
    const int from = item % slices * size;
    if (from < range.n) fn(item / slices, from, std::min(range.n, from + size));
  });
}

/* x += h, which the last product left, after its norm `post`, unless that is null; then x's norm, ready for products.
 * It goes to h where they read it as f32, else to a place that stays in the worker's cache. */
Activations DenseModel::add_and_norm(const TokenRange& range, const NormWeights* post, const NormWeights& norm,
                                     bool keeps_fine) {
  const size_t width = model_.width;
  float* h = &h_[range.scratch_row() * width];
  const Activations a = inputs(range, h, model_.width, keeps_fine);
  for_tokens(range, [&](int32_t i, int32_t worker) {
    float* x = &x_[(range.first + i) * width];
    if (post) add_residual(x, h + i * width, *post);
    float* normed = exact_ || weights_.plain_after_norm ? h + i * width : &normed_[worker * width];
    normalise(x, norm, normed, model_.width);
    quantise(a, i, normed);
  });
  return a;
}

/* x += h, after its norm where the model has one. */
void DenseModel::add_residual(float* x, float* h, const NormWeights& post) const {
  if (post.gain) normalise(h, post, h, model_.width);
  add(x, h, model_.residual_scale, model_.width);
}

/* What families differ in: norms, the MLP's activation, the rotation. Each obeys the model's record. */

/* x [n], as model_.norm has it; may be done in place. */
void DenseModel::normalise(const float* x, const NormWeights& norm, float* out, int n) const {
  if (model_.norm == SKV_NORM_LAYER)
    layer_norm(x, norm.gain, norm.bias, model_.norm_eps, n, out);
  else
    rms_norm(x, norm.gain, model_.norm_eps, n, out);
}

/* A token's queries and keys: their norms, where the model has them, then the rotation of its position. Where only the
 * first dims of a head are rotated, halves against each other, the second half of them moves to where it is in heads
 * that are rotated whole. Keys move as queries do, so their products stay, and pages know of one order alone. */
void DenseModel::finish_heads(int l, size_t token) {
  const Layer& layer = weights_.layer[l];
  const int dim = model_.head_dim, half = model_.rope_dims / 2;
  const bool moves = half < dim / 2 && !model_.rope_interleaved;
  const size_t at = token * inv_freq_.size() + size_t(rope_[l]) * (dim / 2);
  auto finish = [&](float* heads, int n, const NormWeights& norm) {
    for (int h = 0; h < n; h++) {
      float* head = heads + h * dim;
      if (norm.gain) normalise(head, norm, head, dim);
      if (moves) std::rotate(head + half, head + 2 * half, head + dim / 2 + half);
      rope(head, &cos_[at], &sin_[at], dim, model_.rope_interleaved);
    }
  };
  finish(&io_.q[token * model_.heads * dim], model_.heads, layer.q_norm);
  finish(&io_.k[token * model_.kv_heads * dim], model_.kv_heads, layer.k_norm);
}

/* Room for the inputs of a range's next product: x [token][cols]. */
Activations DenseModel::inputs(const TokenRange& range, const float* x, int cols, bool keeps_fine) const {
  Activations a = quantised_.at(range.scratch_row(), x, cols, keeps_fine);
  a.by_tiles = range.by_tiles;
  return a;
}

/* One token's activations x. Those that are not whole blocks have no quantised weights to meet. */
void DenseModel::quantise(const Activations& to, int32_t i, const float* x) const {
  if (to.cols % kBlock == 0) products_of(to).quantise(to, i, x);
}

/* Row groups [group0, group1) of one matrix, tokens [token0, token1) of `a`, and their biases. */
void DenseModel::product(const Output& out, const Activations& a, int token0, int token1, int group0,
                         int group1) const {
  const Matrix& w = out.from->w;
  if (exact_ && quantised(w.format))
    exact_product(out, a, token1, group0, group1);
  else
    products_of(a).product(w, a, token0, token1, group0, group1, out.to, out.stride);
  if (!out.from->bias) return;
  const int row0 = group0 * kRows, rows = std::min(w.rows, group1 * kRows) - row0;
  for (int i = token0; i < token1; i++) add(out.to + size_t(i) * out.stride + row0, out.from->bias + row0, 1, rows);
}

/* With activations in f32: a group's weights as f32 first. */
void DenseModel::exact_product(const Output& out, const Activations& a, int tokens, int group0, int group1) const {
  const Matrix& w = out.from->w;
  Array<float> weights(size_t(w.cols) * kRows);
  std::vector<float> row(w.cols);
  for (int g = group0; g < group1; g++) {
    const int first = g * kRows, rows = std::min(kRows, w.rows - first);
    for (int r = 0; r < rows; r++) {
      unpack_row(w, first + r, row.data());
      for (int c = 0; c < w.cols; c++) weights[size_t(c) * kRows + r] = row[c];
    }
    Matrix group;
    describe(SKV_W_F32, rows, w.cols, &group);
    group.data = reinterpret_cast<uint8_t*>(weights.data());
    isa_->products.product(group, a, 0, tokens, 0, 1, out.to + first, out.stride);
  }
}

/* Products of several matrices with the same input, and their biases: their row groups are dealt out as if they were
 * one matrix. */
void DenseModel::project(const TokenRange& range, const Activations& a, std::initializer_list<Output> outputs) {
  int groups = 0;
  size_t bytes = 0;
  for (const Output& out : outputs) {
    groups += out.from->w.groups();
    bytes += out.from->w.bytes();
  }
  const int size = range.one_worker ? groups : piece_groups(groups, bytes, threads_.count(), a.by_tiles);
  auto run = [&](int piece, int token0, int token1) {
    const int first = piece * size, last = std::min(groups, first + size);
    int base = 0; /* of the matrix, among all groups */
    for (const Output& out : outputs) {
      const int g0 = std::max(first - base, 0), g1 = std::min(last - base, out.from->w.groups());
      if (g0 < g1) product(out, a, token0, token1, g0, g1);
      base += out.from->w.groups();
    }
  };
  if (range.one_worker) return run(0, 0, range.n);
  for_pieces(range, (groups + size - 1) / size, run);
}

}  // namespace skv
