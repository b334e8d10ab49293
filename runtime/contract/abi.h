/* The seam between the engine, its backends and the compiled policies: plain C, opened with dlopen.
 *
 *   engine (TypeScript) --typed arrays--> addon --skv_backend--> backend (CPU, CUDA) --skv_policy--> policy.so
 *
 * Who owns what: the engine decides rows, tables, budgets and triggers; the backend owns the dense model, the pool
 * memory and the threads or stream; a policy owns what happens inside pages. A policy never sees the model, the
 * backend never sees a score. Numbers, rows, hints and probes are in records.h. What passes between separately built
 * files (skv_policy, skv_step, skv_probe; skv_backend and skv_config in backend.h) begins with its version and size, so
 * that a stale file is refused.
 *
 * Vocabulary
 *   slot     one cached token of one layer and one KV head
 *   page     SKV_PAGE slots of one layer and one KV head; page 0 is the null page and is never written
 *   row      the part of one sequence in one step
 *   lane     SKV_PAGE 32-bit words beside the keys and values of a page; lane 0 is the logical position (i32)
 *   segment  SKV_SEGMENT consecutive slots: attention is evaluated per segment and merged in segment order, always,
 *            so that its bits do not depend on how a prompt was chunked or a step was split over threads
 */
#ifndef SKV_ABI_H
#define SKV_ABI_H
#include "records.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where memory lives. On the CPU every pointer is host memory. On CUDA what is marked [device] is device memory and
 * everything else host memory; the structs themselves are host memory always. Kernels read rows, tables, lengths,
 * budgets and parameters on the device, so a captured graph of a step's launches can be replayed for other rows: what
 * the launches themselves depend on is the shape and the hints, and nothing else. No function waits for the device. */

/* What layers differ in. */
typedef struct skv_layer_shape {
  /* A query sees the keys of as many positions, its own included; 0: of all. Such a layer has nothing to choose: slots
   * lie by position, whole pages leave at the front, nothing is observed, and budgets say SKV_KEEP_ALL. Slot 0 has
   * position pos0 + tokens - live, a multiple of SKV_PAGE; no page before a row's first query sees any more is left. */
  int32_t window;
  const float* inv_freq; /* [device] [head_dim / 2] RoPE frequencies (radians per position), scaled; null: no RoPE */
} skv_layer_shape;

/* What stays the same for the life of an engine. Strides are in elements of the named array. */
typedef struct skv_shape {
  int32_t layers, kv_heads, group, head_dim; /* query heads = kv_heads * group; query head h reads KV head h / group */
  int32_t kv_type;                           /* SKV_BF16 … */
  int32_t page_bytes;                        /* distance of pages in the pool, a multiple of 64 */
  int32_t lanes;                             /* lanes a page has room for, the most any opened policy needs */
  int32_t table_stride;                      /* page entries of one (sequence, layer, KV head) in tables */
  int32_t max_tokens;                        /* most tokens in one step */
  int32_t max_slots;                         /* most live slots one head of one sequence can hold */
  int32_t max_rows, max_seqs;                /* most rows of a step; sequences that tables, lengths … have room for */
  int32_t pages;                             /* pages of the pool, the null page included */
  int32_t io_type;                           /* SKV_F32 … of q, k, v and out; the CPU runs SKV_F32 */
  float scale;                               /* of logits: mostly 1 / sqrt(head_dim) */
  float soft_cap;                            /* logits x become soft_cap * tanh(x / soft_cap); 0: they stay */
  int32_t rope_interleaved;                  /* 1: RoPE rotates dims (2i, 2i + 1); 0: (i, i + head_dim / 2) */
  const skv_layer_shape* layer;              /* [layers] */
} skv_shape;

/* A step, as a policy sees it while layer `layer` runs. Token arrays hold the tokens of all rows of the step; a policy
 * touches only rows whose `policy` equals `self`. */
typedef struct skv_step {
  uint32_t abi_version; /* SKV_ABI_VERSION */
  uint32_t size;        /* of this struct */
  const skv_shape* shape;
  int32_t self;       /* index of the policy being called */
  int32_t rows;       /* rows of the step, of all policies */
  const skv_row* row; /* [device] */
  skv_hints hints;
  uint8_t* pool;          /* [device] page p lies at pool + p * page_bytes */
  const int32_t* tables;  /* [device] [seq][layer][kv_head][table_stride] page numbers */
  int32_t* lengths;       /* [device] [seq][layer][kv_head] live slots. append adds row.tokens, compact lowers */
  int32_t* profiles;      /* [device] [seq][layer][kv_head] of a policy with a profile: the number of the rule that the
                             head took at its prompt's end. compact alone writes and reads it */
  const int32_t* budgets; /* [device] [seq][layer] slots to keep per KV head, protected ones included (compact only) */
  const float* params;    /* [device] [seq][SKV_MAX_PARAMS] resolved parameters in declared order */
  const int32_t* classes; /* [device] [token] SKV_CLASS_… bits */
  /* Of io_type on CUDA, f32 on the CPU: */
  const float* q; /* [device] [token][kv_heads * group][head_dim] rotated queries of this layer */
  const float* k; /* [device] [token][kv_heads][head_dim] rotated keys */
  const float* v; /* [device] [token][kv_heads][head_dim] */
  float* out;     /* [device] [token][kv_heads * group][head_dim] attention output */
  float* lse;     /* [device] [token][kv_heads * group] f32, natural log-sum-exp of the scaled logits */
  float* logits;  /* [device] the policies' own from append to observe of a layer: the most step_floats() of them */
} skv_step;

/* How a policy gets work done. On the CPU `parallel` runs items on the pinned threads and returns when all are done.
 * Items begin in their order, so one may wait for an earlier one; or, with `near`, a worker takes neighbours one after
 * the other, so that one may fetch what the next one reads. On CUDA functions launch on `stream` and return; `parallel`
 * is null, `workers` counts the device's multiprocessors, and scratch is one [device] array of scratch_bytes for all of
 * them. */
typedef struct skv_exec {
  int32_t workers;
  void* self;
  void (*parallel)(void* self, int32_t items, int32_t near, void (*run)(void* arg, int32_t item, int32_t worker),
                   void* arg);
  void* stream;          /* cudaStream_t */
  uint8_t* scratch;      /* worker w owns [scratch + w * scratch_bytes, + scratch_bytes), 64-byte aligned */
  int64_t scratch_bytes; /* at least what scratch_bytes() asked */
} skv_exec;

/* A compiled policy. */
typedef struct skv_policy {
  uint32_t abi_version; /* SKV_ABI_VERSION */
  uint32_t size;        /* of this struct */
  const char* name;     /* definePolicy's */
  const char* hash;     /* content hash of policy, templates and target: the file's name carries it too */
  const char* target;   /* "cpu", "cuda" */
  int32_t lanes;        /* lanes of its pages: position, then what the plan lists */
  int32_t states;       /* accumulated states, the last `states` lanes */
  /* 0, or the code with which every pass refuses this shape: an engine asks before it runs a step. */
  int32_t (*accepts)(const skv_shape*);
  /* Bytes of scratch each worker needs (CUDA: all together), and floats of skv_step.logits, for steps within the
   * shape's limits. */
  int64_t (*scratch_bytes)(const skv_shape*);
  int64_t (*step_floats)(const skv_shape*);
  /* One layer of one step, in this order. append stores K, V and lanes of the new tokens and raises lengths. attend
   * fills out and lse for every token of its rows; where no more is needed, a row comes without its first tokens, or
   * with none. observe runs `next` for observed queries. compact runs once after the last layer, over all layers, for
   * rows with compact = 1. On the CPU attend does what is cheapest while a head's pages are in the cache: it observes
   * (observe is null), and for a row of one token it stores that token and, where one slot is to leave, replaces it;
   * then compact finds nothing to do. */
  int32_t (*append)(const skv_step*, int32_t layer, const skv_exec*);
  int32_t (*attend)(const skv_step*, int32_t layer, const skv_exec*);
  int32_t (*observe)(const skv_step*, int32_t layer, const skv_exec*);
  int32_t (*compact)(const skv_step*, const skv_exec*);
  int32_t (*probe_next)(const skv_probe*);                                            /* every state, once */
  int32_t (*probe_score)(const skv_probe*);                                           /* across, then score */
  const char* (*error)(int32_t code);                                                 /* a code in words; never null */
  int32_t (*copy)(const skv_step*, const int32_t* pairs, int32_t n, const skv_exec*); /* [device] pairs [n][2] of pages
                                               (from, to); null on the CPU, whose backend copies pages itself */
} skv_policy;

/* The one symbol a policy library exports. */
typedef const skv_policy* (*skv_policy_entry_fn)(void);
#define SKV_POLICY_ENTRY "skv_policy_entry"

#ifdef __cplusplus
}
#endif
#endif
