/* The seam between the engine, its backends and the compiled policies: plain C, opened with dlopen.
 *
 *   engine (TypeScript) --typed arrays--> addon --skv_backend--> backend (CPU, CUDA) --skv_policy--> policy.so
 *
 * Who owns what: the engine decides rows, tables, budgets and triggers; the backend owns the dense model, the pool
 * memory and the threads or stream; a policy owns what happens inside pages. A policy never sees the model, the
 * backend never sees a score. Every struct starts with its version and size, so that a stale file is refused.
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
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SKV_ABI_VERSION 5
#define SKV_PAGE 16
#define SKV_SEGMENT 256
#define SKV_MAX_PARAMS 16 /* declared parameters of a policy */
#define SKV_MAX_LANES 16

enum { SKV_BF16 = 0, SKV_F32 = 1, SKV_F16 = 2 };           /* type of keys and values in a page */
enum { SKV_CLASS_SPECIAL = 1, SKV_CLASS_PUNCTUATION = 2 }; /* bits of a token's class */

/* Where memory lives. On the CPU every pointer is host memory. On CUDA what is marked [device] is device memory and
 * everything else host memory; the structs themselves are host memory always. Kernels read rows, tables, lengths,
 * budgets and parameters on the device, so a captured graph of a step's launches can be replayed for other rows: what
 * the launches themselves depend on is the shape and the hints, and nothing else. No function waits for the device. */

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
  float scale;                               /* of logits: 1 / sqrt(head_dim) */
  const float* inv_freq;    /* [device] [head_dim / 2] RoPE frequencies (radians per position), scaled */
  int32_t rope_interleaved; /* 1: RoPE turns dims (2i, 2i + 1); 0: (i, i + head_dim / 2) */
} skv_shape;

/* One sequence's part of one step. The engine writes rows as an Int32Array: i32 only, no padding. */
typedef struct skv_row {
  int32_t seq;            /* row of tables, lengths, budgets, params */
  int32_t policy;         /* which opened policy runs it; -1: none, the row is skipped (room in a captured graph) */
  int32_t token0, tokens; /* its tokens in the step's arrays: [token0, token0 + tokens) */
  int32_t pos0;           /* logical position of its first token; the i-th has pos0 + i */
  int32_t prompt;         /* length of the prompt: logical positions below it are prompt */
  int32_t observe0;       /* observed queries of this row: logical positions [observe0, observe1), empty if equal; */
  int32_t observe1;       /*   always inside [pos0, pos0 + tokens) */
  int32_t observe_last;   /* w of observe { last: w }, else 0: with prompt it gives slot.seen in closed form */
  int32_t compact;        /* 1: select and compact at the end of the step */
  int32_t window_first;   /* protected slots: logical position < window_first, */
  int32_t window_last;    /*   or >= length - window_last, length = pos0 + tokens */
} skv_row;

/* What a step's launches depend on, for the rows of the policy that is called. Upper bounds: more only costs time, so a
 * graph captured with generous ones serves every step below them; with less, rows stay without an answer. The CPU does
 * not read them. */
typedef struct skv_hints {
  int32_t decode_rows;     /* rows of one token at or after the prompt's end; 0 leaves their kernels out */
  int32_t prompt_tokens;   /* most tokens of any other row; 0 leaves their kernels out */
  int32_t observed_tokens; /* most observed queries of any such row; 0 leaves their kernel out */
  int32_t slots;           /* most live slots of one head, this step's tokens included */
  int32_t compact_rows;    /* rows with compact = 1 */
} skv_hints;

/* A step, as a policy sees it while layer `layer` runs. Token arrays hold the tokens of all rows of the step; a policy
 * touches only rows whose `policy` equals `self`. */
typedef struct skv_step {
  uint32_t abi_version, size;
  const skv_shape* shape;
  int32_t self;       /* index of the policy being called */
  int32_t rows;       /* rows of the step, of all policies */
  const skv_row* row; /* [device] */
  skv_hints hints;
  uint8_t* pool;          /* [device] page p lies at pool + p * page_bytes */
  const int32_t* tables;  /* [device] [seq][layer][kv_head][table_stride] page numbers */
  int32_t* lengths;       /* [device] [seq][layer][kv_head] live slots. append adds row.tokens, compact lowers */
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

/* Direct evaluation of the policy's expressions, for tests of the oracle ladder: no pages, no attention. On CUDA the
 * arrays are [device] memory, the default stream is used and the result awaited. All arrays have `slots` entries unless
 * said; a null array is one the expression does not read. */
typedef struct skv_probe {
  uint32_t abi_version, size;
  int32_t slots, head_dim, layer, layers, head, heads;
  float length;        /* logical length */
  float query_pos;     /* position of the query, for slot.age */
  const float* params; /* [SKV_MAX_PARAMS] */
  const float* pos;    /* logical positions */
  const float* seen;   /* observed queries that could see the slot */
  const float* attn;   /* group-reduced probability */
  const int32_t* classes;
  const float* keys;   /* [slot][head_dim] */
  const float* values; /* [slot][head_dim] */
  float* states;       /* [state][slot]: read by score; read and written by next */
  float* scores;       /* written by score, before pool and heads */
} skv_probe;

/* What a policy's functions return: 0, one of these, or SKV_E_DEVICE + the device's own error (cudaError_t). */
enum {
  SKV_E_SHAPE = 1,    /* the library holds no kernel for this head size, group, or type of keys and values */
  SKV_E_HEADS = 2,    /* more KV heads than can decide together */
  SKV_E_DEVICE = 1000 /* + cudaError_t: launches after an error of the device fail until the process ends */
};

/* A compiled policy. */
typedef struct skv_policy {
  uint32_t abi_version, size;
  const char* name;   /* definePolicy's */
  const char* hash;   /* content hash of policy, templates and target: the file's name carries it too */
  const char* target; /* "cpu", "cuda" */
  int32_t lanes;      /* lanes of its pages: position, then what the plan lists */
  int32_t states;     /* accumulated states, the last `states` lanes */
  uint32_t kv_types;  /* bit 1 << SKV_BF16 … it can run */
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
