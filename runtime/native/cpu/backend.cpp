/* skv_cpu.so: the CPU's engine behind backend.h. Exceptions end here as messages. */
#include "backend.h"

#include <cstdio>
#include <exception>
#include <new>

#include "engine.h"

struct skv_engine {
  skv::CpuEngine engine;
};

namespace {

void write_text(char* to, int32_t bytes, const char* text) {
  if (to && bytes > 0) snprintf(to, size_t(bytes), "%s", text);
}

/* fn(), or `failed` and what went wrong. */
template <class Fn, class Result>
Result guarded(char* error, int32_t bytes, Result failed, Fn&& fn) {
  try {
    return fn();
  } catch (const std::bad_alloc&) {
    write_text(error, bytes, "out of memory");
  } catch (const std::exception& e) {
    write_text(error, bytes, e.what());
  }
  return failed;
}

skv_engine* open_engine(const skv_config* c, skv_buffers* buffers, void (*progress)(void*, float), void* arg,
                        char* error, int32_t bytes) {
  if (c->abi_version != SKV_BACKEND_VERSION || c->size != sizeof(skv_config)) {
    write_text(error, bytes, "skv_cpu.so and skv.node are of different versions: build both again");
    return nullptr;
  }
  return guarded(error, bytes, static_cast<skv_engine*>(nullptr), [&] {
    auto* opened = new skv_engine{skv::CpuEngine(*c, skv::Progress{progress, arg})};
    *buffers = opened->engine.buffers();
    return opened;
  });
}

int32_t add_policy(skv_engine* e, const char* path, char* error, int32_t bytes) {
  return guarded(error, bytes, int32_t(-1), [&] { return int32_t(e->engine.add_policy(path)); });
}

int32_t step(skv_engine* e, const skv_step_counts* counts, char* error, int32_t bytes) {
  return guarded(error, bytes, int32_t(1), [&] {
    e->engine.step(*counts);
    return int32_t(0);
  });
}

int32_t read_lane(skv_engine* e, int32_t seq, int32_t layer, int32_t head, int32_t lane, int32_t* out) {
  return e->engine.read_lane(seq, layer, head, lane, out);
}

const float* logits(skv_engine* e, int32_t sampler) { return e->engine.logits(sampler); }

void describe(skv_engine* e, char* json, int32_t bytes) { write_text(json, bytes, e->engine.describe().c_str()); }

void close_engine(skv_engine* e) { delete e; }

skv_backend make_backend() {
  skv_backend backend{};
  backend.abi_version = SKV_BACKEND_VERSION;
  backend.size = sizeof backend;
  backend.name = "cpu";
  backend.open = open_engine;
  backend.add_policy = add_policy;
  backend.step = step;
  backend.read_lane = read_lane;
  backend.logits = logits;
  backend.describe = describe;
  backend.close = close_engine;
  return backend;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const skv_backend* skv_backend_entry(void) {
  static const skv_backend backend = make_backend();
  return &backend;
}
