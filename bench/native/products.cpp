/* Dense products alone, dealt out over the threads as the engine deals them. */
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <tuple>
#include <vector>

#include "activations.h"
#include "backend.h"
#include "bench.h"
#include "matmul.h"

namespace skv::bench {
namespace {

/* Weights beyond any cache, so that a decode product reads them from memory as it does between two tokens. */
constexpr size_t kCold = size_t(192) << 20;

/* A file's random rows; scales small and finite. */
std::vector<uint8_t> random_source(int type, int rows, int cols) {
  std::vector<uint8_t> source(source_bytes(type, rows, cols));
  Random random(3);
  for (auto& byte : source) byte = uint8_t(random.next());
  auto put = [&](size_t at, uint16_t half) { memcpy(&source[at], &half, 2); };
  auto half = [&](int exponent) { return uint16_t((random.next() & 0x3ff) | exponent << 10); }; /* f16 */
  const size_t block = type == SKV_W_Q4_0   ? SKV_BYTES_Q4_0
                       : type == SKV_W_Q4_1 ? SKV_BYTES_Q4_1
                       : type == SKV_W_Q8_0 ? SKV_BYTES_Q8_0
                                            : 0;
  if (block)
    for (size_t at = 0; at < source.size(); at += block) {
      put(at, half(7));
      if (type == SKV_W_Q4_1) put(at + 2, half(7));
    }
  else if (type == SKV_W_F32)
    for (size_t at = 0; at < source.size(); at += 4) {
      const float value = random.normal() * 0.05f;
      memcpy(&source[at], &value, 4);
    }
  else
    for (size_t at = 0; at < source.size(); at += 2)
      put(at, type == SKV_W_F16 ? half(9) : uint16_t((random.next() & 0x807f) | 0x3d00));
  return source;
}

struct Case {
  std::unique_ptr<Block> weights, input, output;
  std::vector<Matrix> copies;
  std::unique_ptr<ActivationRows> quantised;
  Activations x;
  size_t turn = 0;

  Case(int type, int rows, int cols, int tokens, const Products& products, Threads& threads) {
    Matrix first;
    if (!describe(type, rows, cols, &first)) throw std::runtime_error("this shape cannot be packed");
    const size_t stride = (first.bytes() + 4095) / 4096 * 4096;
    const int n = int(std::max<size_t>(1, kCold / stride));
    weights = std::make_unique<Block>(stride * n);
    first.data = weights->data;
    const auto source = random_source(type, rows, cols);
    threads.each(first.groups(), [&](int32_t g, int32_t) { pack(first, type, source.data(), g, g + 1); });
    threads.each(n - 1,
                 [&](int32_t i, int32_t) { memcpy(weights->data + stride * (i + 1), weights->data, first.bytes()); });
    for (int i = 0; i < n; i++) {
      copies.push_back(first);
      copies.back().data = weights->data + stride * i;
    }
    input = std::make_unique<Block>(size_t(tokens) * cols * 4);
    output = std::make_unique<Block>(size_t(tokens) * rows * 4);
    auto* values = reinterpret_cast<float*>(input->data);
    Random random(5);
    for (size_t i = 0; i < size_t(tokens) * cols; i++) values[i] = random.normal();
    quantised = std::make_unique<ActivationRows>(size_t(tokens), cols);
    x = quantised->at(0, values, cols, false);
    if (cols % kBlock == 0) quantise_all(products.quantise, x, tokens);
  }
};

}  // namespace

Answer product(int type, int rows, int cols, int tokens, bool of_prompts, Threads& threads) {
  static std::map<std::tuple<int, int, int, int, bool>, std::unique_ptr<Case>> cases;
  const auto key = std::make_tuple(type, rows, cols, tokens, of_prompts);
  const Isa* isa = find_isa(nullptr);
  const bool apart = of_prompts && isa->of_prompts.product;
  const Products& products = apart ? isa->of_prompts : isa->products;
  if (!cases.count(key)) {
    cases.clear(); /* one at a time: they are large */
    cases[key] = std::make_unique<Case>(type, rows, cols, tokens, products, threads);
  }
  Case& c = *cases[key];
  auto* out = reinterpret_cast<float*>(c.output->data);
  const double seconds = timed([&] {
    const Matrix& w = c.copies[c.turn++ % c.copies.size()];
    const int groups = w.groups(), size = piece_groups(groups, w.bytes(), threads.count(), apart);
    threads.each_near((groups + size - 1) / size, [&](int32_t piece, int32_t) {
      products.product(w, c.x, 0, tokens, piece * size, std::min(groups, (piece + 1) * size), out, rows);
    });
  });
  const double packed = double(c.copies[0].bytes());
  return {seconds, packed + double(tokens) * (cols + rows * 4.0), 2.0 * rows * cols * tokens};
}

}  // namespace skv::bench
