/* skv_cpu.so: the CPU engine behind backend.h. Exceptions end here as messages. */
#include "backend.h"

#include <cstdio>
#include <exception>

#include "engine.h"

struct skv_engine {
  skv::Engine engine;
};

namespace {

void tell(char* error, int32_t bytes, const char* what) {
  if (error && bytes > 0) snprintf(error, size_t(bytes), "%s", what);
}

template <class Fn, class Failed>
auto guarded(char* error, int32_t bytes, Failed failed, Fn&& fn) -> decltype(fn()) {
  try {
    return fn();
  } catch (const std::bad_alloc&) {
    tell(error, bytes, "out of memory");
  } catch (const std::exception& e) {
    tell(error, bytes, e.what());
  }
  return failed;
}

skv_engine* open_engine(const skv_config* c, skv_buffers* buffers, void (*progress)(void*, float), void* arg,
                        char* error, int32_t bytes) {
  if (c->abi_version != SKV_BACKEND_VERSION || c->size != sizeof(skv_config))
    return tell(error, bytes, "skv_cpu.so and skv.node are of different versions: build both again"), nullptr;
  return guarded(error, bytes, static_cast<skv_engine*>(nullptr),
                 [&] { return new skv_engine{skv::Engine(*c, buffers, progress, arg)}; });
}

int32_t add_policy(skv_engine* e, const char* path, char* error, int32_t bytes) {
  return guarded(error, bytes, -1, [&] { return e->engine.add_policy(path); });
}

int32_t step(skv_engine* e, const skv_step_counts* counts, char* error, int32_t bytes) {
  return guarded(error, bytes, 1, [&] { return e->engine.step(*counts), 0; });
}

int32_t read_lane(skv_engine* e, int32_t seq, int32_t layer, int32_t head, int32_t lane, int32_t* out) {
  return e->engine.read_lane(seq, layer, head, lane, out);
}

const float* logits(skv_engine* e, int32_t sampler) { return e->engine.logits(sampler); }

void describe(skv_engine* e, char* json, int32_t bytes) { tell(json, bytes, e->engine.describe().c_str()); }

void close_engine(skv_engine* e) { delete e; }

const skv_backend kBackend = {
    SKV_BACKEND_VERSION, sizeof(skv_backend), "cpu", open_engine, add_policy, step, read_lane, logits, describe,
    close_engine};

}  // namespace

extern "C" __attribute__((visibility("default"))) const skv_backend* skv_backend_entry(void) { return &kBackend; }

/* For tests of one product on one path; see runtime/native/index.ts. Returns a message or null. */
extern "C" __attribute__((visibility("default"))) const char* skv_test_matmul(const char* isa, int32_t type,
                                                                              int32_t rows, int32_t cols,
                                                                              const uint8_t* weights, int32_t tokens,
                                                                              const float* x, float* out) {
  const skv::Isa* path = skv::find_isa(isa);
  if (!path) return "no such instruction-set path here";
  skv::Matrix m;
  if (!skv::describe(type, rows, cols, &m)) return "this type or shape cannot be packed";
  skv::Arena arena(m.bytes() + 4096);
  m.data = arena.data();
  skv::pack(m, type, weights, 0, m.groups());
  const size_t pairs = size_t(tokens) * skv::pairs_of(cols);
  std::vector<int8_t> q(pairs * skv::kPair);
  std::vector<float> scale(pairs);
  std::vector<int16_t> sum(pairs * 2);
  std::vector<int32_t> offset(pairs * 2);
  skv::Activations a{cols, x, cols, q.data(), scale.data(), sum.data(), offset.data()};
  if (skv::quantised(m.format)) skv::quantise_all(path->quantise, a, tokens);
  path->product(m, a, 0, tokens, 0, m.groups(), out, rows);
  return nullptr;
}

extern "C" __attribute__((visibility("default"))) const char* skv_isa_name(int32_t i) {
  for (int k = 0; k < skv::kIsaCount; k++)
    if (skv::kIsas[k]->supported() && i-- == 0) return skv::kIsas[k]->name;
  return nullptr;
}
