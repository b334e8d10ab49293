/* Numbers and records that backends and the addon share. Printed from records.ts by `npm run contract`; edit that. */
#ifndef SKV_BACKEND_RECORDS_H
#define SKV_BACKEND_RECORDS_H
#include "records.h"

/* What backends, the addon and TypeScript agree on: that, this file, fields.h and backend.h. */
#define SKV_BACKEND_VERSION 0xd67a6cdcu

#define SKV_MAX_LOGPROBS 20                         /* alternatives that a draw can report */
#define SKV_KEPT_LOGITS 32                          /* draws of a step whose raw logits stay readable */
#define SKV_MAX_BIASES 1024                         /* tokens whose logits a sequence may move */
#define SKV_MASK_WORDS(vocab) (((vocab) + 31) / 32) /* words of a set of tokens, one bit each */

/* Types of weights, numbered as GGUF numbers them. */
enum {
  SKV_W_F32 = 0,
  SKV_W_F16 = 1,
  SKV_W_Q4_0 = 2,
  SKV_W_Q4_1 = 3,
  SKV_W_Q5_0 = 6,
  SKV_W_Q5_1 = 7,
  SKV_W_Q8_0 = 8,
  SKV_W_Q2_K = 10,
  SKV_W_Q3_K = 11,
  SKV_W_Q4_K = 12,
  SKV_W_Q5_K = 13,
  SKV_W_Q6_K = 14,
  SKV_W_IQ4_NL = 20,
  SKV_W_IQ4_XS = 23,
  SKV_W_BF16 = 30,
};

/* Elements of a block of each type of weights, as files have it. */
enum {
  SKV_ELEMENTS_F32 = 1,
  SKV_ELEMENTS_F16 = 1,
  SKV_ELEMENTS_BF16 = 1,
  SKV_ELEMENTS_Q8_0 = 32,
  SKV_ELEMENTS_Q4_0 = 32,
  SKV_ELEMENTS_Q4_1 = 32,
  SKV_ELEMENTS_Q5_0 = 32,
  SKV_ELEMENTS_Q5_1 = 32,
  SKV_ELEMENTS_Q2_K = 256,
  SKV_ELEMENTS_Q3_K = 256,
  SKV_ELEMENTS_Q4_K = 256,
  SKV_ELEMENTS_Q5_K = 256,
  SKV_ELEMENTS_Q6_K = 256,
  SKV_ELEMENTS_IQ4_NL = 32,
  SKV_ELEMENTS_IQ4_XS = 256,
};

/* Bytes of a block of each type of weights, as files have it. */
enum {
  SKV_BYTES_F32 = 4,
  SKV_BYTES_F16 = 2,
  SKV_BYTES_BF16 = 2,
  SKV_BYTES_Q8_0 = 34,
  SKV_BYTES_Q4_0 = 18,
  SKV_BYTES_Q4_1 = 20,
  SKV_BYTES_Q5_0 = 22,
  SKV_BYTES_Q5_1 = 24,
  SKV_BYTES_Q2_K = 84,
  SKV_BYTES_Q3_K = 110,
  SKV_BYTES_Q4_K = 144,
  SKV_BYTES_Q5_K = 176,
  SKV_BYTES_Q6_K = 210,
  SKV_BYTES_IQ4_NL = 18,
  SKV_BYTES_IQ4_XS = 136,
};

/* What the norms of a model are. */
enum {
  SKV_NORM_RMS = 0,          /* x / sqrt(mean(x²) + eps) · weight */
  SKV_NORM_RMS_PLUS_ONE = 1, /* the same with 1 + weight */
  SKV_NORM_LAYER = 2,        /* (x − mean(x)) / sqrt(variance(x) + eps) · weight + bias */
};

/* What the MLP's gate goes through. */
enum {
  SKV_ACT_SILU = 0,      /* x / (1 + e^−x) */
  SKV_ACT_GELU = 1,      /* x · Φ(x), with the normal distribution */
  SKV_ACT_GELU_TANH = 2, /* the same by its approximation with tanh */
  SKV_ACT_RELU = 3,      /* max(x, 0) */
};

/* What a weight tensor is to the forward pass. */
enum {
  SKV_T_EMBED = 0,
  SKV_T_OUTPUT_NORM = 1,
  SKV_T_OUTPUT = 2, /* absent: tied to embed */
  SKV_T_ATTN_NORM = 3,
  SKV_T_Q = 4,
  SKV_T_K = 5,
  SKV_T_V = 6,
  SKV_T_O = 7,
  SKV_T_FFN_NORM = 8,
  SKV_T_GATE = 9, /* absent: the MLP is not gated, and up goes through the activation */
  SKV_T_UP = 10,
  SKV_T_DOWN = 11,
  SKV_T_Q_BIAS = 12,
  SKV_T_K_BIAS = 13,
  SKV_T_V_BIAS = 14,
  SKV_T_O_BIAS = 15,
  SKV_T_GATE_BIAS = 16,
  SKV_T_UP_BIAS = 17,
  SKV_T_DOWN_BIAS = 18,
  SKV_T_Q_NORM = 19,         /* of each query head, before it is rotated */
  SKV_T_K_NORM = 20,         /* of each key */
  SKV_T_ATTN_POST_NORM = 21, /* of attention's output, before it is added to the residual stream */
  SKV_T_FFN_POST_NORM = 22,  /* of the MLP's */
  SKV_T_ATTN_NORM_BIAS = 23,
  SKV_T_FFN_NORM_BIAS = 24,
  SKV_T_OUTPUT_NORM_BIAS = 25,
  SKV_T_POSITIONS = 26, /* added to the embedding of the token at each position */
};

#define SKV_T_COUNT 27

/* What TypeScript calls a role; null: there is none. */
static inline const char* skv_role_name(int32_t role) {
  switch (role) {
    case SKV_T_EMBED:
      return "embed";
    case SKV_T_OUTPUT_NORM:
      return "outputNorm";
    case SKV_T_OUTPUT:
      return "output";
    case SKV_T_ATTN_NORM:
      return "attnNorm";
    case SKV_T_Q:
      return "q";
    case SKV_T_K:
      return "k";
    case SKV_T_V:
      return "v";
    case SKV_T_O:
      return "o";
    case SKV_T_FFN_NORM:
      return "ffnNorm";
    case SKV_T_GATE:
      return "gate";
    case SKV_T_UP:
      return "up";
    case SKV_T_DOWN:
      return "down";
    case SKV_T_Q_BIAS:
      return "qBias";
    case SKV_T_K_BIAS:
      return "kBias";
    case SKV_T_V_BIAS:
      return "vBias";
    case SKV_T_O_BIAS:
      return "oBias";
    case SKV_T_GATE_BIAS:
      return "gateBias";
    case SKV_T_UP_BIAS:
      return "upBias";
    case SKV_T_DOWN_BIAS:
      return "downBias";
    case SKV_T_Q_NORM:
      return "qNorm";
    case SKV_T_K_NORM:
      return "kNorm";
    case SKV_T_ATTN_POST_NORM:
      return "attnPostNorm";
    case SKV_T_FFN_POST_NORM:
      return "ffnPostNorm";
    case SKV_T_ATTN_NORM_BIAS:
      return "attnNormBias";
    case SKV_T_FFN_NORM_BIAS:
      return "ffnNormBias";
    case SKV_T_OUTPUT_NORM_BIAS:
      return "outputNormBias";
    case SKV_T_POSITIONS:
      return "positions";
  }
  return NULL;
}

/* One weight tensor of a model file. Matrices are [rows = outputs][cols = inputs], row-major. */
typedef struct skv_tensor {
  int32_t role;   /* SKV_T_… */
  int32_t layer;  /* 0 for tensors outside layers */
  int32_t type;   /* SKV_W_… */
  int32_t rows;   /* of norms and biases 1 */
  int32_t cols;   /* inputs, or the size of a norm or bias */
  int32_t file;   /* index into files; -1: in none, its numbers are random, of type BF16 */
  int64_t offset; /* within that file, */
  int64_t bytes;  /* checked by the reader, checked again against the mapping */
} skv_tensor;
static_assert(offsetof(skv_tensor, role) == 0, "skv_tensor.role");
static_assert(offsetof(skv_tensor, layer) == 4, "skv_tensor.layer");
static_assert(offsetof(skv_tensor, type) == 8, "skv_tensor.type");
static_assert(offsetof(skv_tensor, rows) == 12, "skv_tensor.rows");
static_assert(offsetof(skv_tensor, cols) == 16, "skv_tensor.cols");
static_assert(offsetof(skv_tensor, file) == 20, "skv_tensor.file");
static_assert(offsetof(skv_tensor, offset) == 24, "skv_tensor.offset");
static_assert(offsetof(skv_tensor, bytes) == 32, "skv_tensor.bytes");
static_assert(sizeof(skv_tensor) == 40, "skv_tensor");

/* What a layer's attention sees and how its queries and keys are rotated. */
typedef struct skv_layer {
  int32_t window; /* positions that a query sees, its own included; 0: all before it */
  int32_t rope;   /* which table of inv_freq */
} skv_layer;
static_assert(offsetof(skv_layer, window) == 0, "skv_layer.window");
static_assert(offsetof(skv_layer, rope) == 4, "skv_layer.rope");
static_assert(sizeof(skv_layer) == 8, "skv_layer");

/* What the dense model needs to know. */
typedef struct skv_model {
  /* decoder layers */
  int32_t layers;
  /* of the residual stream */
  int32_t width;
  /* query heads */
  int32_t heads;
  /* a divisor of heads */
  int32_t kv_heads;
  /* of queries, keys and values */
  int32_t head_dim;
  /* outputs of gate and up */
  int32_t ffn;
  /* tokens */
  int32_t vocab;
  /* rows of the learned positions; 0: there are none */
  int32_t positions;
  /* 1: pairs (2i, 2i + 1), GGUF's llama; 0: (i, i + rope_dims / 2), safetensors' */
  int32_t rope_interleaved;
  /* dims of a head that RoPE rotates, the first ones; even, at most head_dim */
  int32_t rope_dims;
  /* SKV_NORM_…; a backend refuses what it does not have */
  int32_t norm;
  /* SKV_ACT_…, the same */
  int32_t activation;
  /* of the norms */
  float norm_eps;
  /* of the products of queries and keys */
  float attention_scale;
  /* logits of attention become cap · tanh(logit / cap); 0: they stay */
  float attention_cap;
  /* the same of the logits of tokens */
  float logit_cap;
  /* of the embedding */
  float embed_scale;
  /* of what attention and MLP add to the residual stream */
  float residual_scale;
  /* of the logits of tokens, before their cap */
  float logit_scale;
  /* of what is rotated, queries and keys */
  float rope_scale;
  /* tables of inv_freq */
  int32_t ropes;
  /* entries of tensor */
  int32_t tensors;
  /* entries of file */
  int32_t files;
  /* [ropes][head_dim / 2] radians per position, scaled; zeros, as beyond rope_dims / 2, do not rotate */
  const float* inv_freq;
  /* [layers] */
  const skv_layer* layer;
  /* [tensors] */
  const skv_tensor* tensor;
  /* [files] paths */
  const char* const* file;
} skv_model;

/* What the tensor of a role is to the forward pass. */
typedef struct skv_role_shape {
  int32_t rows;      /* outputs; 0: there is no such role */
  int32_t cols;      /* inputs, or the size of a norm or bias */
  int32_t per_layer; /* 1: every layer has one */
  int32_t optional;  /* 1: the forward pass does without it; then no layer has one */
  int32_t norm;      /* 1: the weight of a norm, in one row */
  int32_t bias;      /* 1: of a norm or a matrix, in one row */
} skv_role_shape;

/* One function: a case for each shape there is. */
static inline skv_role_shape skv_shape_of(const skv_model* m, int32_t role) {
  skv_role_shape shape = {0};
  switch (role) {
    case SKV_T_EMBED:
      shape.rows = m->vocab;
      shape.cols = m->width;
      break;
    case SKV_T_OUTPUT_NORM:
      shape.rows = 1;
      shape.cols = m->width;
      shape.norm = 1;
      break;
    case SKV_T_OUTPUT:
      shape.rows = m->vocab;
      shape.cols = m->width;
      shape.optional = 1;
      break;
    case SKV_T_ATTN_NORM:
    case SKV_T_FFN_NORM:
      shape.rows = 1;
      shape.cols = m->width;
      shape.per_layer = 1;
      shape.norm = 1;
      break;
    case SKV_T_Q:
      shape.rows = m->heads * m->head_dim;
      shape.cols = m->width;
      shape.per_layer = 1;
      break;
    case SKV_T_K:
    case SKV_T_V:
      shape.rows = m->kv_heads * m->head_dim;
      shape.cols = m->width;
      shape.per_layer = 1;
      break;
    case SKV_T_O:
      shape.rows = m->width;
      shape.cols = m->heads * m->head_dim;
      shape.per_layer = 1;
      break;
    case SKV_T_GATE:
      shape.rows = m->ffn;
      shape.cols = m->width;
      shape.per_layer = 1;
      shape.optional = 1;
      break;
    case SKV_T_UP:
      shape.rows = m->ffn;
      shape.cols = m->width;
      shape.per_layer = 1;
      break;
    case SKV_T_DOWN:
      shape.rows = m->width;
      shape.cols = m->ffn;
      shape.per_layer = 1;
      break;
    case SKV_T_Q_BIAS:
      shape.rows = 1;
      shape.cols = m->heads * m->head_dim;
      shape.per_layer = 1;
      shape.optional = 1;
      shape.bias = 1;
      break;
    case SKV_T_K_BIAS:
    case SKV_T_V_BIAS:
      shape.rows = 1;
      shape.cols = m->kv_heads * m->head_dim;
      shape.per_layer = 1;
      shape.optional = 1;
      shape.bias = 1;
      break;
    case SKV_T_O_BIAS:
    case SKV_T_DOWN_BIAS:
    case SKV_T_ATTN_NORM_BIAS:
    case SKV_T_FFN_NORM_BIAS:
      shape.rows = 1;
      shape.cols = m->width;
      shape.per_layer = 1;
      shape.optional = 1;
      shape.bias = 1;
      break;
    case SKV_T_GATE_BIAS:
    case SKV_T_UP_BIAS:
      shape.rows = 1;
      shape.cols = m->ffn;
      shape.per_layer = 1;
      shape.optional = 1;
      shape.bias = 1;
      break;
    case SKV_T_Q_NORM:
    case SKV_T_K_NORM:
      shape.rows = 1;
      shape.cols = m->head_dim;
      shape.per_layer = 1;
      shape.optional = 1;
      shape.norm = 1;
      break;
    case SKV_T_ATTN_POST_NORM:
    case SKV_T_FFN_POST_NORM:
      shape.rows = 1;
      shape.cols = m->width;
      shape.per_layer = 1;
      shape.optional = 1;
      shape.norm = 1;
      break;
    case SKV_T_OUTPUT_NORM_BIAS:
      shape.rows = 1;
      shape.cols = m->width;
      shape.optional = 1;
      shape.bias = 1;
      break;
    case SKV_T_POSITIONS:
      shape.rows = m->positions;
      shape.cols = m->width;
      shape.optional = 1;
      break;
  }
  return shape;
}

/* What an engine is opened with. */
typedef struct skv_config {
  /* SKV_BACKEND_VERSION */
  uint32_t abi_version;
  /* of this struct */
  uint32_t size;
  /* its weights and numbers */
  skv_model model;
  /* SKV_BF16 or SKV_F32 */
  int32_t kv_type;
  /* of the pool, the null page included; with pool_fraction the most */
  int32_t pages;
  /* of what a device has free beside weights and scratch, for the pool; 0: it has `pages`. The CPU takes 0 alone */
  float pool_fraction;
  /* page entries of one (sequence, layer, KV head) */
  int32_t table_stride;
  /* sequences that tables have room for */
  int32_t max_seqs;
  /* of a step */
  int32_t max_rows;
  /* of a step */
  int32_t max_tokens;
  /* of a step */
  int32_t max_copies;
  /* the one that calls included */
  int32_t threads;
  /* 1: quantised weights meet activations in f32, slowly; else in int8 */
  int32_t exact_activations;
  /* 1: pages lie in host memory, and attention runs there, on threads of its own beside the dense model */
  int32_t host_pages;
  /* entries of policy */
  int32_t policies;
  /* paths of policy libraries; skv_row.policy indexes them */
  const char* const* policy;
  /* thread i is pinned to cpu[i], when not null */
  const int32_t* cpu;
} skv_config;

/* One draw of a step: which logits, with what parameters. */
typedef struct skv_sampler {
  float temperature;  /* 0: greedy, the lowest token number among equals */
  float top_p;        /* 1: off */
  float min_p;        /* 0: off */
  float repetition;   /* 1: off */
  float presence;     /* 0: off */
  float frequency;    /* 0: off */
  int32_t top_k;      /* 0: off */
  int32_t seed_lo;    /* of this request; draws depend on seed and position alone */
  int32_t seed_hi;    /* its upper half */
  int32_t position;   /* logical position of the token being drawn */
  int32_t history0;   /* [history0, history1) of history: tokens so far, */
  int32_t history1;   /* when a penalty counts them */
  int32_t generated0; /* the generated ones of them begin here */
  int32_t bias0;      /* [bias0, bias1) of bias_token and bias_value */
  int32_t bias1;      /* empty if equal */
  int32_t mask;       /* which set of mask says what may be drawn; -1: every token */
  int32_t logprobs;   /* alternatives wanted, 0 … SKV_MAX_LOGPROBS; -1: none, not even the token's own */
  int32_t target;     /* >= 0: draw nothing, report this token's log-probability (teacher forcing) */
  int32_t source;     /* which of the step's tokens its logits come from */
} skv_sampler;
static_assert(offsetof(skv_sampler, temperature) == 0, "skv_sampler.temperature");
static_assert(offsetof(skv_sampler, top_p) == 4, "skv_sampler.top_p");
static_assert(offsetof(skv_sampler, min_p) == 8, "skv_sampler.min_p");
static_assert(offsetof(skv_sampler, repetition) == 12, "skv_sampler.repetition");
static_assert(offsetof(skv_sampler, presence) == 16, "skv_sampler.presence");
static_assert(offsetof(skv_sampler, frequency) == 20, "skv_sampler.frequency");
static_assert(offsetof(skv_sampler, top_k) == 24, "skv_sampler.top_k");
static_assert(offsetof(skv_sampler, seed_lo) == 28, "skv_sampler.seed_lo");
static_assert(offsetof(skv_sampler, seed_hi) == 32, "skv_sampler.seed_hi");
static_assert(offsetof(skv_sampler, position) == 36, "skv_sampler.position");
static_assert(offsetof(skv_sampler, history0) == 40, "skv_sampler.history0");
static_assert(offsetof(skv_sampler, history1) == 44, "skv_sampler.history1");
static_assert(offsetof(skv_sampler, generated0) == 48, "skv_sampler.generated0");
static_assert(offsetof(skv_sampler, bias0) == 52, "skv_sampler.bias0");
static_assert(offsetof(skv_sampler, bias1) == 56, "skv_sampler.bias1");
static_assert(offsetof(skv_sampler, mask) == 60, "skv_sampler.mask");
static_assert(offsetof(skv_sampler, logprobs) == 64, "skv_sampler.logprobs");
static_assert(offsetof(skv_sampler, target) == 68, "skv_sampler.target");
static_assert(offsetof(skv_sampler, source) == 72, "skv_sampler.source");
static_assert(sizeof(skv_sampler) == 76, "skv_sampler");

/* What a draw came to. */
typedef struct skv_sampled {
  int32_t token;                  /* drawn, or the target */
  float logprob;                  /* of token under softmax of the raw logits of what may be drawn, natural log */
  int32_t alternatives[20];       /* the likeliest such tokens, best first; -1: no more */
  float alternative_logprobs[20]; /* theirs */
} skv_sampled;
static_assert(offsetof(skv_sampled, token) == 0, "skv_sampled.token");
static_assert(offsetof(skv_sampled, logprob) == 4, "skv_sampled.logprob");
static_assert(offsetof(skv_sampled, alternatives) == 8, "skv_sampled.alternatives");
static_assert(offsetof(skv_sampled, alternative_logprobs) == 88, "skv_sampled.alternative_logprobs");
static_assert(sizeof(skv_sampled) == 168, "skv_sampled");

/* How many of each a step has. */
typedef struct skv_step_counts {
  int32_t rows;     /* of row */
  int32_t tokens;   /* of token, position, classes */
  int32_t samplers; /* of sampler and sampled */
  int32_t copies;   /* pairs of copy */
} skv_step_counts;
static_assert(offsetof(skv_step_counts, rows) == 0, "skv_step_counts.rows");
static_assert(offsetof(skv_step_counts, tokens) == 4, "skv_step_counts.tokens");
static_assert(offsetof(skv_step_counts, samplers) == 8, "skv_step_counts.samplers");
static_assert(offsetof(skv_step_counts, copies) == 12, "skv_step_counts.copies");
static_assert(sizeof(skv_step_counts) == 16, "skv_step_counts");

/* Memory that the engine and a backend share for the life of an engine; how long each array is says fields.h. */
typedef struct skv_buffers {
  int32_t* token;       /* tokens of the step */
  int32_t* position;    /* logical position of token i */
  int32_t* classes;     /* SKV_CLASS_… bits */
  skv_row* row;         /* rows of the step */
  int32_t* table;       /* page numbers: tables of skv_step */
  int32_t* changed;     /* first new entry of a table: the engine lowers it, a backend that copies tables raises it */
  int32_t* length;      /* live slots: lengths of skv_step */
  int32_t* profile;     /* rules that heads took: profiles of skv_step */
  int32_t* budget;      /* budgets of skv_step */
  float* param;         /* params of skv_step */
  skv_sampler* sampler; /* at most one draw per token of a step */
  skv_sampled* sampled; /* the same */
  int32_t* history;     /* tokens that penalties count */
  int32_t* bias_token;  /* tokens whose logits are moved */
  float* bias_value;    /* by this much */
  int32_t* mask;        /* bits of the vocabulary, one set a draw that asks for it: 1 may be drawn */
  int32_t* copy;        /* page pairs (from, to), copied before the step runs */
} skv_buffers;

#endif
