// One dense product of the CPU backend, linked in: its bits on another machine. Words on stdin: type, rows, cols,
// tokens; then the weights as a model file has them, then x f32 [tokens][cols]. Answer: f32 [tokens][rows] of the best
// path.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "matmul.h"

extern "C" const char* skv_test_matmul(const char* isa, int32_t type, int32_t rows, int32_t cols,
                                       const uint8_t* weights, int32_t tokens, const float* x, float* out);

int main() {
  int32_t head[4];
  while (fread(head, 4, 4, stdin) == 4) {
    const int32_t type = head[0], rows = head[1], cols = head[2], tokens = head[3];
    std::vector<uint8_t> weights(skv::source_bytes(type, rows, cols));
    std::vector<float> x(size_t(tokens) * cols), out(size_t(tokens) * rows);
    if (fread(weights.data(), 1, weights.size(), stdin) != weights.size() ||
        fread(x.data(), 4, x.size(), stdin) != x.size())
      return 2;
    if (const char* error = skv_test_matmul(nullptr, type, rows, cols, weights.data(), tokens, x.data(), out.data())) {
      fprintf(stderr, "%s\n", error);
      return 3;
    }
    fwrite(out.data(), 4, out.size(), stdout);
  }
}
