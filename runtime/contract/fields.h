/* Fields by the names that TypeScript has for them. Printed from records.ts by `npm run contract`; edit that. */
#ifndef SKV_FIELDS_H
#define SKV_FIELDS_H
#include "backend_records.h"

namespace skv {

/* each_number(record, fn) calls fn(name, field) for each number that TypeScript gives. */
template <class Fn>
void each_number(skv_probe& of, Fn&& fn) {
  fn("slots", of.slots);
  fn("headDim", of.head_dim);
  fn("layer", of.layer);
  fn("layers", of.layers);
  fn("head", of.head);
  fn("heads", of.heads);
  fn("length", of.length);
  fn("queryPos", of.query_pos);
  fn("seedLo", of.seed_lo);
  fn("seedHi", of.seed_hi);
}

template <class Fn>
void each_number(skv_tensor& of, Fn&& fn) {
  fn("layer", of.layer);
  fn("type", of.type);
  fn("rows", of.rows);
  fn("cols", of.cols);
  fn("file", of.file);
  fn("offset", of.offset);
  fn("bytes", of.bytes);
}

template <class Fn>
void each_number(skv_layer& of, Fn&& fn) {
  fn("window", of.window);
  fn("rope", of.rope);
}

template <class Fn>
void each_number(skv_model& of, Fn&& fn) {
  fn("layers", of.layers);
  fn("width", of.width);
  fn("heads", of.heads);
  fn("kvHeads", of.kv_heads);
  fn("headDim", of.head_dim);
  fn("ffn", of.ffn);
  fn("vocab", of.vocab);
  fn("positions", of.positions);
  fn("ropeInterleaved", of.rope_interleaved);
  fn("ropeDims", of.rope_dims);
  fn("norm", of.norm);
  fn("activation", of.activation);
  fn("normEps", of.norm_eps);
  fn("attentionScale", of.attention_scale);
  fn("attentionCap", of.attention_cap);
  fn("logitCap", of.logit_cap);
  fn("embedScale", of.embed_scale);
  fn("residualScale", of.residual_scale);
  fn("logitScale", of.logit_scale);
  fn("ropeScale", of.rope_scale);
}

template <class Fn>
void each_number(skv_config& of, Fn&& fn) {
  fn("kvType", of.kv_type);
  fn("pages", of.pages);
  fn("poolFraction", of.pool_fraction);
  fn("tableStride", of.table_stride);
  fn("maxSeqs", of.max_seqs);
  fn("maxRows", of.max_rows);
  fn("maxTokens", of.max_tokens);
  fn("maxCopies", of.max_copies);
  fn("threads", of.threads);
  fn("exactActivations", of.exact_activations);
  fn("hostPages", of.host_pages);
}

template <class Fn>
void each_number(skv_step_counts& of, Fn&& fn) {
  fn("rows", of.rows);
  fn("tokens", of.tokens);
  fn("samplers", of.samplers);
  fn("copies", of.copies);
}

/* Calls fn(name, array, elements) for each shared array. */
template <class Fn>
void each_array(const skv_config& c, skv_buffers& of, Fn&& fn) {
  fn("token", of.token, size_t(c.max_tokens));
  fn("position", of.position, size_t(c.max_tokens));
  fn("classes", of.classes, size_t(c.max_tokens));
  fn("row", of.row, size_t(c.max_rows));
  fn("table", of.table, size_t(c.max_seqs) * c.model.layers * c.model.kv_heads * c.table_stride);
  fn("changed", of.changed, size_t(c.max_seqs) * c.model.layers * c.model.kv_heads);
  fn("length", of.length, size_t(c.max_seqs) * c.model.layers * c.model.kv_heads);
  fn("profile", of.profile, size_t(c.max_seqs) * c.model.layers * c.model.kv_heads);
  fn("budget", of.budget, size_t(c.max_seqs) * c.model.layers);
  fn("param", of.param, size_t(c.max_seqs) * SKV_MAX_PARAMS);
  fn("sampler", of.sampler, size_t(c.max_tokens));
  fn("sampled", of.sampled, size_t(c.max_tokens));
  fn("history", of.history, size_t(c.max_seqs) * c.table_stride * SKV_PAGE);
  fn("biasToken", of.bias_token, size_t(c.max_seqs) * SKV_MAX_BIASES);
  fn("biasValue", of.bias_value, size_t(c.max_seqs) * SKV_MAX_BIASES);
  fn("mask", of.mask, size_t(c.max_seqs) * SKV_MASK_WORDS(c.model.vocab));
  fn("copy", of.copy, size_t(c.max_copies) * 2);
}

}  // namespace skv
#endif
