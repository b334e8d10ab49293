/* An engine of C++ behind backend.h's plain C. Exceptions end here as messages. */
#ifndef SKV_ENTRY_H
#define SKV_ENTRY_H
#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "backend.h"
#include "lost.h"
#include "progress.h"

namespace skv {

/* Engine has a constructor (config, progress), buffers(), add_policy(path), step(counts), read_lane(…), logits(i) and
 * describe(); skv_engine is an Engine. */
template <class Engine>
class Entry {
 public:
  static skv_backend backend(const char* name) {
    skv_backend backend{};
    backend.abi_version = SKV_BACKEND_VERSION;
    backend.size = sizeof backend;
    backend.name = name;
    backend.open = open;
    backend.add_policy = add_policy;
    backend.step = step;
    backend.read_lane = read_lane;
    backend.logits = logits;
    backend.describe = describe;
    backend.close = close;
    return backend;
  }

 private:
  static Engine& of(skv_engine* engine) { return *reinterpret_cast<Engine*>(engine); }

  static void write_text(char* to, int32_t bytes, const char* text) {
    if (to && bytes > 0) snprintf(to, size_t(bytes), "%s", text);
  }

  /* fn(), or `failed` and what went wrong. */
  template <class Result, class Fn>
  static Result guarded(char* error, int32_t bytes, Result failed, Fn&& fn) {
    try {
      return fn();
    } catch (const std::bad_alloc&) {
      write_text(error, bytes, "out of memory");
    } catch (const std::exception& e) {
      write_text(error, bytes, e.what());
    }
    return failed;
  }

  static skv_engine* open(const skv_config* c, skv_buffers* buffers, void (*progress)(void*, float), void* arg,
                          char* error, int32_t bytes) {
    if (c->abi_version != SKV_BACKEND_VERSION || c->size != sizeof(skv_config)) {
      write_text(error, bytes, "the backend and skv.node are of different versions: build both again");
      return nullptr;
    }
    return guarded(error, bytes, static_cast<skv_engine*>(nullptr), [&] {
      auto* opened = new Engine(*c, Progress{progress, arg});
      *buffers = opened->buffers();
      return reinterpret_cast<skv_engine*>(opened);
    });
  }

  static int32_t add_policy(skv_engine* e, const char* path, char* error, int32_t bytes) {
    return guarded(error, bytes, int32_t(-1), [&] { return int32_t(of(e).add_policy(path)); });
  }

  static int32_t step(skv_engine* e, const skv_step_counts* counts, char* error, int32_t bytes) {
    return guarded(error, bytes, int32_t(SKV_STEP_FAILED), [&] {
      try {
        of(e).step(*counts);
      } catch (const Lost& lost) {
        write_text(error, bytes, lost.what());
        return int32_t(SKV_STEP_LOST);
      }
      return int32_t(SKV_STEP_DONE);
    });
  }

  static int32_t read_lane(skv_engine* e, int32_t seq, int32_t layer, int32_t head, int32_t lane, int32_t* out) {
    return guarded(nullptr, 0, int32_t(-1), [&] { return int32_t(of(e).read_lane(seq, layer, head, lane, out)); });
  }

  static const float* logits(skv_engine* e, int32_t sampler) {
    return guarded(nullptr, 0, static_cast<const float*>(nullptr), [&] { return of(e).logits(sampler); });
  }

  static void describe(skv_engine* e, char* json, int32_t bytes) { write_text(json, bytes, of(e).describe().c_str()); }

  static void close(skv_engine* e) { delete &of(e); }
};

}  // namespace skv
#endif
