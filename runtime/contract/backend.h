/* A backend: the dense model, the pool's memory and the machine's threads or stream, behind plain C. The addon opens
 * one with dlopen and knows nothing else of it: skv_cpu.so beside the addon today, a CUDA one by the same struct. */
#ifndef SKV_BACKEND_H
#define SKV_BACKEND_H
#include "abi.h"
#include "backend_records.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
  SKV_STEP_DONE = 0,
  SKV_STEP_FAILED = 1, /* the engine must be closed */
  SKV_STEP_LOST = 2    /* so must the process: its device answers nothing any more */
};

typedef struct skv_engine skv_engine; /* the backend's own */

typedef struct skv_backend {
  uint32_t abi_version; /* SKV_BACKEND_VERSION */
  uint32_t size;        /* of this struct */
  const char* name;
  /* Null and a message naming the tensor, file or policy at fault on failure. Fills *buffers. progress may be null. */
  skv_engine* (*open)(const skv_config*, skv_buffers* buffers, void (*progress)(void*, float done), void* arg,
                      char* error, int32_t error_bytes);
  /* Opens one more policy library into an open engine; returns its index or -1 with a message. */
  int32_t (*add_policy)(skv_engine*, const char* path, char* error, int32_t error_bytes);
  /* Runs one step. Blocking: the addon calls it on the engine's own thread. SKV_STEP_… and a message where it is not 0.
   */
  int32_t (*step)(skv_engine*, const skv_step_counts*, char* error, int32_t error_bytes);
  /* Reads lane `lane` of a sequence's live slots of one layer and head into out (16-slot pages in table order). */
  int32_t (*read_lane)(skv_engine*, int32_t seq, int32_t layer, int32_t head, int32_t lane, int32_t* out);
  /* Raw logits [vocab] of sampler i of the last step, one of its first SKV_KEPT_LOGITS; else null. */
  const float* (*logits)(skv_engine*, int32_t sampler);
  void (*describe)(skv_engine*, char* json, int32_t json_bytes); /* NativeEngine.describe of index.ts */
  void (*close)(skv_engine*);
} skv_backend;

typedef const skv_backend* (*skv_backend_entry_fn)(void);
#define SKV_BACKEND_ENTRY "skv_backend_entry"

#ifdef __cplusplus
}
#endif
#endif
