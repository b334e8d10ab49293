/* A backend: the dense model, the pool's memory and the machine's threads or stream, behind plain C. The addon opens
 * one with dlopen and knows nothing else of it: skv_cpu.so beside the addon today, a CUDA one by the same struct. */
#ifndef SKV_BACKEND_H
#define SKV_BACKEND_H
#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weight types, numbered as GGUF numbers them. */
enum { SKV_W_F32 = 0, SKV_W_F16 = 1, SKV_W_Q4_0 = 2, SKV_W_Q4_1 = 3, SKV_W_Q8_0 = 8, SKV_W_BF16 = 30 };

/* Roles of tensors. LAYER ones repeat per layer. All matrices are [rows = outputs][cols = inputs], row-major. */
enum {
  SKV_T_EMBED = 0,
  SKV_T_OUTPUT_NORM,
  SKV_T_OUTPUT, /* OUTPUT absent: tied to EMBED */
  SKV_T_ATTN_NORM,
  SKV_T_Q,
  SKV_T_K,
  SKV_T_V,
  SKV_T_O,
  SKV_T_FFN_NORM,
  SKV_T_GATE,
  SKV_T_UP,
  SKV_T_DOWN,
  SKV_T_COUNT
};

typedef struct skv_tensor {
  int32_t role, layer;   /* layer 0 for tensors outside layers */
  int32_t type;          /* SKV_W_… */
  int32_t rows, cols;    /* norms: rows 1 */
  int32_t file;          /* index into files */
  int64_t offset, bytes; /* within that file; checked by the reader, checked again against the mapping */
} skv_tensor;

typedef struct skv_model {
  int32_t layers, width, heads, kv_heads, head_dim, ffn, vocab;
  int32_t rope_interleaved; /* 1: pairs (2i, 2i + 1), GGUF's llama; 0: pairs (i, i + head_dim / 2), safetensors' */
  float norm_eps;
  const float* inv_freq; /* [head_dim / 2], with RoPE scaling applied */
  int32_t tensors;
  const skv_tensor* tensor;
  int32_t files;
  const char* const* file;
} skv_model;

/* How many of each record a step may hold, and the records' layout, are fixed at open. */
typedef struct skv_sampler {             /* one per draw; i32 and f32 words, as TypeScript writes them */
  float temperature;                     /* 0: greedy, the lowest token number among equals */
  float top_p, min_p;                    /* 1 and 0: off */
  float repetition, presence, frequency; /* 1, 0, 0: off */
  int32_t top_k;                         /* 0: off */
  int32_t seed_lo, seed_hi;              /* of this request; draws depend on seed and position alone */
  int32_t position;                      /* logical position of the token being drawn */
  int32_t history0, history1,
      generated0;       /* [history0, history1) of history: tokens so far; generated ones from generated0 */
  int32_t bias0, bias1; /* [bias0, bias1) of bias_token / bias_value */
  int32_t logprobs;     /* alternatives wanted, 0 … SKV_MAX_LOGPROBS; -1: none, not even the token's own */
  int32_t target;       /* >= 0: draw nothing, report this token's log-probability (teacher forcing) */
  int32_t source;       /* which of the step's tokens its logits come from */
} skv_sampler;
#define SKV_MAX_LOGPROBS 20
#define SKV_KEPT_LOGITS 32

typedef struct skv_sampled { /* one per sampler */
  int32_t token;
  float logprob; /* of token under softmax of the raw logits, natural log */
  int32_t alternative[SKV_MAX_LOGPROBS];
  float alternative_logprob[SKV_MAX_LOGPROBS];
} skv_sampled;

/* Memory the engine and the backend share for the life of an engine; the addon hands it out as typed arrays. */
typedef struct skv_buffers {
  int32_t *token, *position, *classes; /* [max_tokens]; position[i] is the logical position of token i */
  skv_row* row;                        /* [max_rows] */
  int32_t *table, *length, *budget;    /* as in skv_step; [max_seqs]… */
  float* param;                        /* [max_seqs][SKV_MAX_PARAMS] */
  skv_sampler* sampler;                /* [max_tokens]: at most one draw per token of a step */
  skv_sampled* sampled;                /* the same */
  int32_t* history;
  int32_t history_capacity;
  int32_t* bias_token;
  float* bias_value;
  int32_t bias_capacity;
  int32_t* copy; /* [max_copies][2] page pairs (from, to), copied before the step runs */
  int32_t max_copies;
} skv_buffers;

typedef struct skv_config {
  uint32_t abi_version, size;
  skv_model model;
  int32_t kv_type; /* SKV_BF16 or SKV_F32 */
  int32_t pages;   /* pages of the pool, the null page included */
  int32_t table_stride, max_seqs, max_rows, max_tokens, max_copies;
  int32_t policies;
  const char* const* policy; /* paths of policy libraries; skv_row.policy indexes them */
  int32_t threads;
  const int32_t* cpu; /* pinned to cpu[i] when not null */
} skv_config;

typedef struct skv_step_counts {
  int32_t rows, tokens, samplers, copies;
} skv_step_counts;

typedef struct skv_engine skv_engine; /* the backend's own */

typedef struct skv_backend {
  uint32_t abi_version, size;
  const char* name;
  /* Null and a message naming the tensor, file or policy at fault on failure. Fills *buffers. progress may be null. */
  skv_engine* (*open)(const skv_config*, skv_buffers* buffers, void (*progress)(void*, float done), void* arg,
                      char* error, int32_t error_bytes);
  /* Opens one more policy library into an open engine; returns its index or -1 with a message. */
  int32_t (*add_policy)(skv_engine*, const char* path, char* error, int32_t error_bytes);
  /* Runs one step. Blocking: the addon calls it on the engine's own thread. Non-zero with a message: the engine must be
   * closed. */
  int32_t (*step)(skv_engine*, const skv_step_counts*, char* error, int32_t error_bytes);
  /* Reads lane `lane` of a sequence's live slots of one layer and head into out (16-slot pages in table order). */
  int32_t (*read_lane)(skv_engine*, int32_t seq, int32_t layer, int32_t head, int32_t lane, int32_t* out);
  /* Raw logits [vocab] of sampler i of the last step, which must have had at most SKV_KEPT_LOGITS of them; else null.
   */
  const float* (*logits)(skv_engine*, int32_t sampler);
  void (*describe)(skv_engine*, char* json, int32_t json_bytes); /* weights bytes, pool bytes, ISA, threads */
  void (*close)(skv_engine*);
} skv_backend;

typedef const skv_backend* (*skv_backend_entry_fn)(void);
#define SKV_BACKEND_ENTRY "skv_backend_entry"

#ifdef __cplusplus
}
#endif
#endif
