/* What the dense model and attention hand each other, layer by layer; q, k, v and out in one type, f32 or bf16. */
#ifndef SKV_CUDA_ATTENTION_IO_H
#define SKV_CUDA_ATTENTION_IO_H
#include "backend.h"
#include "device.h"

namespace skv {

struct DeviceIo {
  DeviceIo(Device& device, const skv_model& m, int max_tokens, int type)
      : type(type),
        q(device, words(m.heads, m, max_tokens, type), "q"),
        k(device, words(m.kv_heads, m, max_tokens, type), "k"),
        v(device, words(m.kv_heads, m, max_tokens, type), "v"),
        out(device, words(m.heads, m, max_tokens, type), "out"),
        lse(device, size_t(max_tokens) * m.heads, "lse"),
        head_words_(m.head_dim / (type == SKV_F32 ? 1 : 2)) {}

  /* Of a token's so many heads. */
  size_t token_words(int heads) const { return size_t(heads) * head_words_; }

  const int type;
  DeviceArray<uint32_t> q;   /* [token][head][head_dim] */
  DeviceArray<uint32_t> k;   /* [token][kv_head][head_dim] */
  DeviceArray<uint32_t> v;   /* [token][kv_head][head_dim] */
  DeviceArray<uint32_t> out; /* [token][head][head_dim] */
  DeviceArray<float> lse;    /* [token][head] */

 private:
  const size_t head_words_;

  static size_t words(int heads, const skv_model& m, int tokens, int type) {
    return size_t(tokens) * heads * m.head_dim / (type == SKV_F32 ? 1 : 2);
  }
};

}  // namespace skv
#endif
