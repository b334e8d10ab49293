/* Numbers and records that policies and the engine share. Printed from records.ts by `npm run contract`; edit that. */
#ifndef SKV_RECORDS_H
#define SKV_RECORDS_H
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* What policy libraries and the engine agree on, as a number: this file, layout.h and abi.h. */
#define SKV_ABI_VERSION 0x2fe72a00u

/* slots of a page */
#define SKV_PAGE 16
/* consecutive slots that attention is evaluated for together; merged in order */
#define SKV_SEGMENT 256
/* declared parameters of a policy */
#define SKV_MAX_PARAMS 16
/* lanes of a page */
#define SKV_MAX_LANES 16
/* a budget that no number of slots exceeds: of a layer that its policy does not thin */
#define SKV_KEEP_ALL 1073741824

/* Type of keys and values in a page. */
enum {
  SKV_BF16 = 0,
  SKV_F32 = 1,
  SKV_F16 = 2,
};

/* Bits of a token's class. */
enum {
  SKV_CLASS_SPECIAL = 1,
  SKV_CLASS_PUNCTUATION = 2,
};

/* What a policy's functions return: 0, or one of these. */
enum {
  /* no kernel for this head size, group or KV type in the library (on CUDA, build with --head-dim and --kv) */
  SKV_E_SHAPE = 1,
  /* more KV heads than can decide together */
  SKV_E_HEADS = 2,
  /* its tables are for a model of another number of layers or KV heads */
  SKV_E_TABLE = 3,
  /* + cudaError_t: launches after an error of the device fail until the process ends */
  SKV_E_DEVICE = 1000,
};

/* What a code means; codes of the device have words of their own. */
static inline const char* skv_error_text(int32_t code) {
  switch (code) {
    case 0:
      return "no error";
    case SKV_E_SHAPE:
      return "no kernel for this head size, group or KV type in the library (on CUDA, build with --head-dim and --kv)";
    case SKV_E_HEADS:
      return "more KV heads than can decide together";
    case SKV_E_TABLE:
      return "its tables are for a model of another number of layers or KV heads";
    case SKV_E_DEVICE:
      return "+ cudaError_t: launches after an error of the device fail until the process ends";
    default:
      return "an unknown code";
  }
}

/* One sequence's part of one step; written by the engine. */
typedef struct skv_row {
  /* row of tables, lengths, budgets, params */
  int32_t seq;
  /* which opened policy runs it; -1: none, the row is skipped (room in a captured graph) */
  int32_t policy;
  /* its tokens in the step's arrays: [token0, token0 + tokens) */
  int32_t token0;
  /* how many */
  int32_t tokens;
  /* logical position of its first token; the i-th has pos0 + i */
  int32_t pos0;
  /* length of the prompt: logical positions below it are prompt */
  int32_t prompt;
  /* observed queries of this row: logical positions [observe0, observe1), empty if equal, */
  int32_t observe0;
  /* always inside [pos0, pos0 + tokens) */
  int32_t observe1;
  /* w of observe { last: w }, else 0: with prompt it gives slot.seen in closed form */
  int32_t observe_last;
  /* 1: select and compact at the end of the step */
  int32_t compact;
  /* protected slots: logical position < window_first, */
  int32_t window_first;
  /* or >= length - window_last, length = pos0 + tokens */
  int32_t window_last;
  /* the request's seed, for slot.random */
  int32_t seed_lo;
  /* its upper half */
  int32_t seed_hi;
  /* attend may leave out the output of logical positions below it, which nobody reads; not their LSE */
  int32_t read0;
} skv_row;
static_assert(offsetof(skv_row, seq) == 0, "skv_row.seq");
static_assert(offsetof(skv_row, policy) == 4, "skv_row.policy");
static_assert(offsetof(skv_row, token0) == 8, "skv_row.token0");
static_assert(offsetof(skv_row, tokens) == 12, "skv_row.tokens");
static_assert(offsetof(skv_row, pos0) == 16, "skv_row.pos0");
static_assert(offsetof(skv_row, prompt) == 20, "skv_row.prompt");
static_assert(offsetof(skv_row, observe0) == 24, "skv_row.observe0");
static_assert(offsetof(skv_row, observe1) == 28, "skv_row.observe1");
static_assert(offsetof(skv_row, observe_last) == 32, "skv_row.observe_last");
static_assert(offsetof(skv_row, compact) == 36, "skv_row.compact");
static_assert(offsetof(skv_row, window_first) == 40, "skv_row.window_first");
static_assert(offsetof(skv_row, window_last) == 44, "skv_row.window_last");
static_assert(offsetof(skv_row, seed_lo) == 48, "skv_row.seed_lo");
static_assert(offsetof(skv_row, seed_hi) == 52, "skv_row.seed_hi");
static_assert(offsetof(skv_row, read0) == 56, "skv_row.read0");
static_assert(sizeof(skv_row) == 60, "skv_row");

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
static_assert(offsetof(skv_hints, decode_rows) == 0, "skv_hints.decode_rows");
static_assert(offsetof(skv_hints, prompt_tokens) == 4, "skv_hints.prompt_tokens");
static_assert(offsetof(skv_hints, observed_tokens) == 8, "skv_hints.observed_tokens");
static_assert(offsetof(skv_hints, slots) == 12, "skv_hints.slots");
static_assert(offsetof(skv_hints, compact_rows) == 16, "skv_hints.compact_rows");
static_assert(sizeof(skv_hints) == 20, "skv_hints");

/* Direct evaluation of the policy's expressions, for tests of the oracle ladder: no pages, no attention. On CUDA the
 * arrays are [device] memory, the default stream is used and the result awaited. All arrays have `slots` entries unless
 * said; a null array is one the expression does not read. */
typedef struct skv_probe {
  uint32_t abi_version;   /* SKV_ABI_VERSION */
  uint32_t size;          /* of this struct */
  int32_t slots;          /* live slots */
  int32_t head_dim;       /* of keys and values */
  int32_t layer;          /* for slot.layer */
  int32_t layers;         /* for slot.layers */
  int32_t head;           /* for slot.head */
  int32_t heads;          /* for slot.heads */
  float length;           /* logical length */
  float query_pos;        /* position of the query, for slot.age */
  int32_t seed_lo;        /* the request's seed, for slot.random */
  int32_t seed_hi;        /* its upper half */
  const float* params;    /* [SKV_MAX_PARAMS] */
  const float* pos;       /* logical positions */
  const float* seen;      /* observed queries that could see the slot */
  const float* attn;      /* group-reduced probability */
  const int32_t* classes; /* SKV_CLASS_… bits */
  const float* keys;      /* [slot][head_dim] */
  const float* values;    /* [slot][head_dim] */
  float* states;          /* [state][slot]: read by score; read and written by next */
  float* scores;          /* written by score, before pool and heads */
} skv_probe;

#endif
