/* What the dense model and attention hand each other, layer by layer: all that travels between them where attention
 * runs elsewhere. */
#ifndef SKV_ATTENTION_IO_H
#define SKV_ATTENTION_IO_H
#include "arena.h"
#include "backend.h"

namespace skv {

struct AttentionIo {
  /* In a block of floats(…) numbers. */
  AttentionIo(const skv_model& m, int max_tokens, float* block)
      : q(block),
        k(q + of_heads(m.heads, m, max_tokens)),
        v(k + of_heads(m.kv_heads, m, max_tokens)),
        out(v + of_heads(m.kv_heads, m, max_tokens)),
        lse(out + of_heads(m.heads, m, max_tokens)) {}

  static size_t floats(const skv_model& m, int max_tokens) {
    return 2 * (of_heads(m.heads, m, max_tokens) + of_heads(m.kv_heads, m, max_tokens)) + size_t(max_tokens) * m.heads;
  }

  /* From the dense model, rotated by position: */
  float* const q; /* [token][head][head_dim] */
  float* const k; /* [token][kv_head][head_dim] */
  float* const v; /* [token][kv_head][head_dim], not rotated */
  /* From attention: */
  float* const out; /* [token][head][head_dim] */
  float* const lse; /* [token][head] natural log-sum-exp of the scaled logits */

 private:
  /* The next array begins on a cache line. */
  static size_t of_heads(int heads, const skv_model& m, int tokens) {
    return whole_lines(size_t(tokens) * heads * m.head_dim * sizeof(float)) / sizeof(float);
  }
};

}  // namespace skv
#endif
