#include "dense_model.h"

#include <algorithm>
#include <stdexcept>

#include "dense.cuh"
#include "launched.cuh"

namespace skv {
namespace {

/* Refuses a model that the kernels have no numbers for. */
skv_model checked(const skv_model& m) {
  if (m.norm < SKV_NORM_RMS || m.norm > SKV_NORM_LAYER)
    throw std::runtime_error("this backend has no norm " + std::to_string(m.norm));
  if (m.activation < SKV_ACT_SILU || m.activation > SKV_ACT_RELU)
    throw std::runtime_error("this backend has no activation " + std::to_string(m.activation));
  if (m.width % 2 || m.ffn % 2 || m.head_dim % 2)
    throw std::runtime_error("this backend takes models whose width, MLP and heads are even");
  return m;
}

size_t widest_product(const skv_model& m) {
  return std::max(size_t(m.heads + 2 * m.kv_heads) * m.head_dim, 2 * size_t(m.ffn));
}

/* Threads of a block for so many pairs of numbers: whole warps, no more than have something to do. */
int threads_for(int numbers) { return std::min(kDenseThreads, ceil_div(numbers / 2, 32) * 32); }

/* fn(F32() or Bf16()) */
template <class Fn>
void by_type(int type, Fn&& fn) {
  if (type == SKV_F32)
    fn(F32());
  else
    fn(Bf16());
}

}  // namespace

DeviceModel::DeviceModel(Device& device, const skv_config& c, int type, DeviceIo& io, const Progress& progress)
    : device_(device),
      model_(checked(c.model)),
      type_(type),
      io_(io),
      weights_(device, c, type, progress),
      frequencies_(c.model.ropes * (c.model.head_dim / 2)),
      inv_freq_(device, frequencies_, "frequencies"),
      cosine_(device, size_t(c.max_tokens) * frequencies_, "cosines"),
      sine_(device, size_t(c.max_tokens) * frequencies_, "sines"),
      x_(device, size_t(c.max_tokens) * c.model.width, "x"),
      gathered_x_(device, x_.size(), "gathered x"),
      h_(device, x_.size(), "h"),
      products_(device, c.max_tokens * widest_product(c.model), "products"),
      panel_(device, panel_words(), "a panel of weights"),
      normed_(device, type_words(x_.size()), "normed"),
      gated_(device, type_words(size_t(c.max_tokens) * c.model.ffn), "gated"),
      taken_out_(device, type == io.type ? 0 : out_words() * c.max_tokens, "taken out"),
      gathered_out_(device, out_words() * c.max_tokens, "gathered out"),
      now_x_(x_.data()),
      now_out_(io.out.data()) {
  device.upload(inv_freq_.data(), c.model.inv_freq, inv_freq_.bytes());
  device.wait();
}

NormNumbers DeviceModel::numbers(const DeviceNorm& norm) const {
  NormNumbers out{};
  out.gain = norm.gain;
  out.bias = norm.bias;
  out.eps = model_.norm_eps;
  out.kind = model_.norm;
  return out;
}

void DeviceModel::multiply(const DeviceLinear& by, const void* x, int tokens, float* out) {
  for (const DevicePart& part : by.part) {
    if (!part.quantised) {
      multiply_dense(part.w, part.rows, by, x, tokens, out);
    } else if (tokens > kFewTokens) {
      multiply_panels(part, by, x, tokens, out);
    } else {
      QuantisedProduct product{};
      product.w = static_cast<const uint32_t*>(part.w);
      product.x = static_cast<const uint32_t*>(x);
      product.out = out;
      product.rows = part.rows;
      product.cols = by.cols;
      product.row_words = part.row_words;
      product.tokens = tokens;
      product.stride = by.rows;
      product.wide = type_ == SKV_F32;
      launched(part.quantised->multiply(product, device_.stream()));
    }
    out += part.rows;
  }
}

void DeviceModel::multiply_dense(const void* w, int rows, const DeviceLinear& by, const void* x, int tokens,
                                 float* out) {
  DenseProduct product{};
  product.rows = rows;
  product.cols = by.cols;
  product.tokens = tokens;
  product.stride = by.rows;
  product.type = type_;
  product.w = w;
  product.x = x;
  product.out = out;
  device_.multiply(product);
}

/* Some rows at a time as plain numbers: weights are read once more than in plain products, and written once. */
void DeviceModel::multiply_panels(const DevicePart& part, const DeviceLinear& by, const void* x, int tokens,
                                  float* out) {
  const int most = panel_rows(by.cols);
  for (int row0 = 0; row0 < part.rows; row0 += most) {
    const int rows = std::min(most, part.rows - row0);
    dequantise(part, by.cols, nullptr, row0, rows, panel_.data(), type_);
    multiply_dense(panel_.data(), rows, by, x, tokens, out + row0);
  }
}

void DeviceModel::dequantise(const DevicePart& part, int cols, const int32_t* source, int row0, int n, uint32_t* out,
                             int type) {
  Dequantise rows{};
  rows.w = static_cast<const uint32_t*>(part.w);
  rows.source = source;
  rows.out = out;
  rows.row0 = row0;
  rows.n = n;
  rows.cols = cols;
  rows.row_words = part.row_words;
  rows.wide = type == SKV_F32;
  launched(part.quantised->dequantise(rows, device_.stream()));
}

int DeviceModel::panel_rows(int cols) const {
  return std::max(1, int(device_.panel_bytes() / (size_t(cols) * (type_ == SKV_F32 ? 4 : 2))));
}

/* What the largest panel of the model's quantised matrices takes. */
size_t DeviceModel::panel_words() const {
  size_t most = 0;
  auto add = [&](const DeviceLinear& by) {
    for (const DevicePart& part : by.part)
      if (part.quantised) most = std::max(most, type_words(size_t(std::min(part.rows, panel_rows(by.cols))) * by.cols));
  };
  add(weights_.output);
  for (const DeviceLayer& layer : weights_.layer)
    for (const DeviceLinear* by : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) add(*by);
  return most;
}

void DeviceModel::embed(const int32_t* token, const int32_t* position, int tokens) {
  now_x_ = x_.data();
  now_out_ = type_ == io_.type ? io_.out.data() : taken_out_.data();
  Rotations rotations{};
  rotations.position = position;
  rotations.inv_freq = inv_freq_.data();
  rotations.cosine = cosine_.data();
  rotations.sine = sine_.data();
  rotations.frequencies = frequencies_;
  rotations.scale = model_.rope_scale;
  launched(SKV_LAUNCH(rotations_kernel, dim3(tokens), threads_for(2 * frequencies_), 0, device_.stream(), rotations));
  Embed embed{};
  const DevicePart& rows = weights_.embed.part[0];
  if (rows.quantised) dequantise(rows, model_.width, token, 0, tokens, reinterpret_cast<uint32_t*>(h_.data()), SKV_F32);
  embed.token = token;
  embed.position = position;
  embed.embedding = static_cast<const uint32_t*>(rows.w);
  embed.plain = rows.quantised ? h_.data() : nullptr;
  embed.positions = static_cast<const uint32_t*>(weights_.positions);
  embed.x = now_x_;
  embed.width = model_.width;
  embed.scale = model_.embed_scale;
  by_type(type_, [&](auto t) {
    launched(
        SKV_LAUNCH((embed_kernel<decltype(t)>), dim3(tokens), threads_for(model_.width), 0, device_.stream(), embed));
  });
}

void DeviceModel::add_and_norm(int first, int n, const float* bias, const DeviceNorm* post, const DeviceNorm* norm) {
  AddAndNorm add{};
  add.x = now_x_ + size_t(first) * model_.width;
  add.h = post ? h_.data() : nullptr;
  add.bias = bias;
  if (post) add.post = numbers(*post);
  add.residual_scale = model_.residual_scale;
  if (norm) add.norm = numbers(*norm);
  add.out_scale = 1;
  add.normed = normed_.data();
  add.width = model_.width;
  by_type(type_, [&](auto t) {
    launched(SKV_LAUNCH((add_and_norm_kernel<decltype(t)>), dim3(n), threads_for(model_.width), kDenseWarps * 4,
                        device_.stream(), add));
  });
}

void DeviceModel::up_to_attention(int l, int first, int n) {
  const DeviceLayer& layer = weights_.layer[l];
  if (l > 0) {
    after_attention(l - 1, first, n);
    const DeviceLayer& before = weights_.layer[l - 1];
    add_and_norm(first, n, before.down.bias, &before.ffn_post_norm, &layer.attn_norm);
  } else {
    add_and_norm(first, n, nullptr, nullptr, &layer.attn_norm);
  }
  multiply(layer.qkv, normed_.data(), n, products_.data());
  FinishHeads finish{};
  finish.qkv = products_.data();
  finish.bias = layer.qkv.bias;
  finish.q_norm = numbers(layer.q_norm);
  finish.k_norm = numbers(layer.k_norm);
  finish.cosine = cosine_.data() + size_t(first) * frequencies_;
  finish.sine = sine_.data() + size_t(first) * frequencies_;
  finish.heads = model_.heads;
  finish.kv_heads = model_.kv_heads;
  finish.dim = model_.head_dim;
  finish.rope_dims = model_.rope_dims;
  finish.interleaved = model_.rope_interleaved;
  finish.frequencies = frequencies_;
  finish.rope0 = model_.layer[l].rope * (model_.head_dim / 2);
  finish.q = io_.q.data() + first * io_.token_words(model_.heads);
  finish.k = io_.k.data() + first * io_.token_words(model_.kv_heads);
  finish.v = io_.v.data() + first * io_.token_words(model_.kv_heads);
  const dim3 grid(n, model_.heads + 2 * model_.kv_heads);
  by_type(io_.type, [&](auto t) {
    launched(SKV_LAUNCH((finish_heads_kernel<decltype(t)>), grid, kHeadThreads, model_.head_dim * 4, device_.stream(),
                        finish));
  });
}

void DeviceModel::take_out(int first, int n) {
  if (type_ == io_.type) return;
  const int words = int(out_words());
  launched(SKV_LAUNCH(round_kernel<Bf16>, dim3(n), threads_for(2 * words), 0, device_.stream(),
                      reinterpret_cast<const float*>(io_.out.data() + first * io_.token_words(model_.heads)),
                      taken_out_.data() + first * out_words(), words));
}

/* From attention's output to h, which is still to be added to the residual stream. */
void DeviceModel::after_attention(int l, int first, int n) {
  const DeviceLayer& layer = weights_.layer[l];
  multiply(layer.o, now_out_ + first * out_words(), n, h_.data());
  add_and_norm(first, n, layer.o.bias, &layer.attn_post_norm, &layer.ffn_norm);
  multiply(layer.gate_up, normed_.data(), n, products_.data());
  Activate activate{};
  activate.products = products_.data();
  activate.bias = layer.gate_up.bias;
  activate.gated = gated_.data();
  activate.ffn = model_.ffn;
  activate.is_gated = layer.is_gated;
  activate.activation = model_.activation;
  const dim3 grid(n, ceil_div(model_.ffn / 2, kPieceWords));
  by_type(type_, [&](auto t) {
    launched(SKV_LAUNCH((activate_kernel<decltype(t)>), grid, threads_for(model_.ffn), 0, device_.stream(), activate));
  });
  multiply(layer.down, gated_.data(), n, h_.data());
}

void DeviceModel::gather(const int32_t* source, int n) {
  const int words = int(out_words());
  launched(SKV_LAUNCH(gather_kernel, dim3(n), threads_for(2 * model_.width), 0, device_.stream(),
                      reinterpret_cast<const uint32_t*>(x_.data()), reinterpret_cast<uint32_t*>(gathered_x_.data()),
                      source, model_.width));
  launched(SKV_LAUNCH(gather_kernel, dim3(n), threads_for(2 * words), 0, device_.stream(), now_out_,
                      gathered_out_.data(), source, words));
  now_x_ = gathered_x_.data();
  now_out_ = gathered_out_.data();
}

void DeviceModel::after_last_attention(int tokens) {
  const DeviceLayer& last = weights_.layer.back();
  after_attention(model_.layers - 1, 0, tokens);
  add_and_norm(0, tokens, last.down.bias, &last.ffn_post_norm, nullptr);
}

void DeviceModel::logits(const int32_t* place, int n, float* out) {
  AddAndNorm norm{};
  norm.x = now_x_;
  norm.norm = numbers(weights_.output_norm);
  norm.out_scale = model_.logit_scale;
  norm.place = place;
  norm.normed = normed_.data();
  norm.width = model_.width;
  by_type(type_, [&](auto t) {
    launched(SKV_LAUNCH((add_and_norm_kernel<decltype(t)>), dim3(n), threads_for(model_.width), kDenseWarps * 4,
                        device_.stream(), norm));
  });
  multiply(weights_.output, normed_.data(), n, out);
  if (model_.logit_cap == 0) return;
  const dim3 grid(ceil_div(model_.vocab, kPieceWords), n);
  launched(SKV_LAUNCH(cap_kernel, grid, kDenseThreads, 0, device_.stream(), out, model_.vocab, model_.logit_cap));
}

}  // namespace skv
