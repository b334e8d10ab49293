/* What tests and `skv doctor` ask of skv_cpu.so beside backend.h: packed weights as numbers, one dense product on one
 * instruction-set path. runtime/native/index.ts has the other half. */
#include "activations.h"
#include "matmul.h"
#include "arena.h"

/* out[token][row] = x[token][cols] times weights, given as a model file has them; with of_prompts as a path multiplies
 * tokens of prompts. Returns a message or null. */
extern "C" __attribute__((visibility("default"))) const char* skv_test_matmul(const char* isa, int32_t type,
                                                                              int32_t rows, int32_t cols,
                                                                              const uint8_t* weights, int32_t tokens,
                                                                              const float* x, float* out,
                                                                              int32_t of_prompts) {
  const skv::Isa* path = skv::find_isa(isa);
  if (!path) return "no such instruction-set path here";
  const skv::Products& products = of_prompts ? path->of_prompts : path->products;
  if (!products.product) return "this path multiplies prompts as all tokens";
  skv::Matrix m;
  if (!skv::describe(type, rows, cols, &m)) return "this type or shape cannot be packed";
  const skv::Arena arena(m.bytes() + skv::kPrefetchSlack);
  m.data = arena.data();
  skv::pack(m, type, weights, 0, m.groups());
  const skv::ActivationRows quantised(size_t(tokens), cols);
  const skv::Activations a = quantised.at(0, x, cols, true);
  if (cols % skv::kBlock == 0) skv::quantise_all(products.quantise, a, tokens);
  products.product(m, a, 0, tokens, 0, m.groups(), out, rows);
  return nullptr;
}

/* out[row][col]: what packed weights mean. Returns a message or null. */
extern "C" __attribute__((visibility("default"))) const char* skv_test_unpack(int32_t type, int32_t rows, int32_t cols,
                                                                              const uint8_t* weights, float* out) {
  skv::Matrix m;
  if (!skv::describe(type, rows, cols, &m)) return "this type or shape cannot be packed";
  const skv::Arena arena(m.bytes() + skv::kPrefetchSlack);
  m.data = arena.data();
  skv::pack(m, type, weights, 0, m.groups());
  for (int row = 0; row < rows; row++) skv::unpack_row(m, row, out + size_t(row) * cols);
  return nullptr;
}

/* Why AMX is not used although the processor has it; null: it is, or the processor has not. */
extern "C" __attribute__((visibility("default"))) const char* skv_amx_refused(void) {
#if defined(__x86_64__)
  return skv::amx_refused();
#else
  return nullptr;
#endif
}

/* Name of the i-th path that runs here, best first; null: there are fewer. */
extern "C" __attribute__((visibility("default"))) const char* skv_isa_name(int32_t i) {
  for (int k = 0; k < skv::kIsaCount; k++)
    if (skv::kIsas[k]->supported() && i-- == 0) return skv::kIsas[k]->name;
  return nullptr;
}
