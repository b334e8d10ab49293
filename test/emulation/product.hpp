// The matrix product of a warp as mma.cuh lays its operands out: the last lane to come computes it for all, c += a b,
// the 16 products of an element added in order.
#pragma once

template <class KV>
void multiply(float* c, const Pair<KV>* a, const Pair<KV>& b0, const Pair<KV>& b1) {
  struct Lane {
    float* c;
    const Pair<KV>*a, *b[2];
  } mine{c, a, {&b0, &b1}};
  emulate::meet(kFull, &mine, "a matrix product", EMULATE_HERE, [](void** lanes, uint32_t) {
    float a[16][16], b[16][8], c[16][8];  // [row][k], [k][column], [row][column]
    // act(an element of c, where its lane has it)
    const auto each_sum = [&](auto&& act) {
      for (int l = 0; l < 32; l++)
        for (int i = 0; i < 4; i++) act(c[l / 4 + i / 2 * 8][2 * (l % 4) + i % 2], ((const Lane*)lanes[l])->c[i]);
    };
    for (int l = 0; l < 32; l++) {
      const Lane& from = *(const Lane*)lanes[l];
      for (int r = 0; r < 4; r++)
        for (int e = 0; e < 2; e++) a[l / 4 + 8 * (r % 2)][8 * (r / 2) + 2 * (l % 4) + e] = from.a[r].get(e);
      for (int r = 0; r < 2; r++)
        for (int e = 0; e < 2; e++) b[8 * r + 2 * (l % 4) + e][l / 4] = from.b[r]->get(e);
    }
    each_sum([](float& sum, float lanes_own) { sum = lanes_own; });
    for (int row = 0; row < 16; row++)
      for (int k = 0; k < 16; k++)
        for (int column = 0; column < 8; column++) c[row][column] = fmaf(a[row][k], b[k][column], c[row][column]);
    each_sum([](float sum, float& lanes_own) { lanes_own = sum; });
  });
}
