// What passes ask of vectors that have been read from a page, whatever its type, and of numbers of slots.
#include "lanes.hpp"

#include <algorithm>

// Elements 2j and 2j + 1 of the slots of register n.
SKV_INLINE Two two_of(const f32x16* at, int j, int n) {
  const auto* element = (const Sixteen*)at + 2 * j;
  return {element[0].reg[n], element[1].reg[n]};
}

void page_answer(const f32x16* at, int dim, Asked what, const float* other, f32x16* out) {
  const auto two = [&](int j, int n) SKV_FLAT { return two_of(at, j, n); };
  known_dim(dim, [&](int dim) SKV_FLAT { answer_of(dim, two, what, other, out); });
}

void add_pages(int dim, const PageTerm* page, int pages, int slots, f32x16* sums) {
  const auto two = [](const PageTerm& term, int j, int n)
                       SKV_FLAT { return two_of((const f32x16*)term.vectors, j, n); };
  add_times(dim, two, page, pages, slots, sums);
}

void trees_of(const f32x16* sums, int dim, float* out) {
  for (int d = 0; d < dim; d += 16) {
    f32xN halves[16];
    for (int i = 0; i < 16; i++) {
      Sixteen x = {sums[d + i]};
      for (int n = kRegisters / 2; n > 0; n /= 2)
        for (int k = 0; k < n; k++) x.reg[k] += x.reg[k + n];
      halves[i] = x.reg[0];
    }
    fold<kRegister / 2>(halves, 16);
    for (int n = 0; n < kRegisters; n++) *(f32xNu*)(out + d + n * kRegister) = halves[n];
  }
}

float nth_of(uint32_t* ordered, int live, float n) {
  if (n < 1.0f) return INFINITY;
  const int at = std::min((int)n, live) - 1;
  std::nth_element(ordered, ordered + at, ordered + live, [](uint32_t a, uint32_t b) { return a > b; });
  return skv_of_ordered(ordered[at]);
}

void softmax_of(float* x, int from, int end) {
  float most = -INFINITY, lanes[SKV_PAGE] = {0};
  for (int s = from; s < end; s++) most = skv_max(most, x[s]);
  for (int s = from; s < end; s++) x[s] = skv_exp(x[s] - most);
  for (int s = from; s < end; s++) lanes[s % SKV_PAGE] += x[s];
  const float sum = skv_tree(lanes);
  for (int s = from; s < end; s++) x[s] = x[s] / sum;
}

void ranks_of(float* x, int from, int end, uint64_t* order) {
  const int n = end - from;
  for (int i = 0; i < n; i++) order[i] = (uint64_t)skv_ordered(x[from + i]) << 32 | (uint32_t)i;
  std::sort(order, order + n, [](uint64_t a, uint64_t b) { return a > b; });
  for (int i = 0; i < n; i++) x[from + (uint32_t)order[i]] = (float)i;
}
