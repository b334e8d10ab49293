/* What the dense model and attention hand each other, layer by layer: all that would travel between them if attention
 * ran elsewhere. */
#ifndef SKV_ATTENTION_IO_H
#define SKV_ATTENTION_IO_H
#include "backend.h"
#include "arena.h"

namespace skv {

struct AttentionIo {
  AttentionIo(const skv_model& m, int max_tokens)
      : q(size_t(max_tokens) * m.heads * m.head_dim),
        k(size_t(max_tokens) * m.kv_heads * m.head_dim),
        v(size_t(max_tokens) * m.kv_heads * m.head_dim),
        out(size_t(max_tokens) * m.heads * m.head_dim),
        lse(size_t(max_tokens) * m.heads) {}

  /* From the dense model, rotated by position: */
  Array<float> q; /* [token][head][head_dim] */
  Array<float> k; /* [token][kv_head][head_dim] */
  Array<float> v; /* [token][kv_head][head_dim], not rotated */
  /* From attention: */
  Array<float> out; /* [token][head][head_dim] */
  Array<float> lse; /* [token][head] natural log-sum-exp of the scaled logits */
};

}  // namespace skv
#endif
