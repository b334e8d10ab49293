// Dense products of the CPU backend, linked in: their bits on another machine, on the best path. Words on stdin: what
// is asked for, type, rows, cols, tokens; then arrays, and an answer in f32 [tokens][rows]:
//   0   one product: weights as a model file has them, x f32 [tokens][cols]
//   1   the same as tokens of prompts are multiplied
//   2   inputs of the product after a gated MLP's first two, of prompts, with relu: weights of gate and of up, their
//       biases f32 [rows] each, x
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "activations.h"
#include "elementwise.h"
#include "matmul.h"

extern "C" const char* skv_test_matmul(const char* isa, int32_t type, int32_t rows, int32_t cols,
                                       const uint8_t* weights, int32_t tokens, const float* x, float* out,
                                       int32_t of_prompts);

namespace {

template <class T>
std::vector<T> read(size_t n) {
  std::vector<T> array(n);
  if (fread(array.data(), sizeof(T), n, stdin) != n) exit(2);
  return array;
}

struct Packed {
  skv::Matrix w;
  skv::Arena arena;
  Packed(int32_t type, int rows, int cols, const std::vector<uint8_t>& source)
      : w(described(type, rows, cols)), arena(w.bytes() + skv::kPrefetchSlack) {
    w.data = arena.data();
    skv::pack(w, type, source.data(), 0, w.groups());
  }
  static skv::Matrix described(int32_t type, int rows, int cols) {
    skv::Matrix w;
    if (!skv::describe(type, rows, cols, &w)) exit(3);
    return w;
  }
};

void gated(int32_t type, int rows, int cols, int tokens) {
  const size_t bytes = skv::source_bytes(type, rows, cols);
  const Packed gate(type, rows, cols, read<uint8_t>(bytes)), up(type, rows, cols, read<uint8_t>(bytes));
  const auto gate_bias = read<float>(rows), up_bias = read<float>(rows), x = read<float>(size_t(tokens) * cols);
  const skv::Isa* isa = skv::find_isa(nullptr);
  if (!isa || !isa->of_prompts.gated) exit(4);
  const skv::ActivationRows inputs(tokens, cols), outputs(tokens, rows);
  skv::Activations a = inputs.at(0, x.data(), cols), to = outputs.at(0, nullptr, rows);
  skv::quantise_all(isa->of_prompts.quantise, a, tokens);
  const int spans = rows / skv::kBlock, half = spans / 2;
  for (int t = 0; t < tokens; t += 32) /* in parts of tokens and of spans, as the engine may */
    for (int from = 0, end = half; from < spans; from = end, end = spans)
      isa->of_prompts.gated({gate.w, gate_bias.data()}, {up.w, up_bias.data()}, a, t, std::min(tokens, t + 32), from,
                            end, skv::relu, to);
  const auto* tiles = reinterpret_cast<const uint16_t*>(to.tiles);
  for (int t = 0; t < tokens; t++)
    for (int i = 0; i < rows; i++) {
      const float value = skv::bf16_to_f32(tiles[((size_t(t / 16) * spans + i / 32) * 16 + t % 16) * 32 + i % 32]);
      fwrite(&value, 4, 1, stdout);
    }
}

}  // namespace

int main() {
  int32_t head[5];
  while (fread(head, 4, 5, stdin) == 5) {
    const int32_t asked = head[0], type = head[1], rows = head[2], cols = head[3], tokens = head[4];
    if (asked == 2) {
      gated(type, rows, cols, tokens);
      continue;
    }
    const auto weights = read<uint8_t>(skv::source_bytes(type, rows, cols));
    const auto x = read<float>(size_t(tokens) * cols);
    std::vector<float> out(size_t(tokens) * rows);
    if (const char* error =
            skv_test_matmul(nullptr, type, rows, cols, weights.data(), tokens, x.data(), out.data(), asked)) {
      fprintf(stderr, "%s\n", error);
      return 3;
    }
    fwrite(out.data(), 4, out.size(), stdout);
  }
}
