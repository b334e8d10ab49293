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
    float whole_a[16][16], whole_b[16][8];  // [row][k], [k][column]
    for (int l = 0; l < 32; l++) {
      const Lane& from = *(const Lane*)lanes[l];
      for (int r = 0; r < 4; r++)
        for (int e = 0; e < 2; e++) whole_a[l / 4 + 8 * (r % 2)][8 * (r / 2) + 2 * (l % 4) + e] = from.a[r].get(e);
      for (int r = 0; r < 2; r++)
        for (int e = 0; e < 2; e++) whole_b[8 * r + 2 * (l % 4) + e][l / 4] = from.b[r]->get(e);
    }
    for (int l = 0; l < 32; l++)
      for (int i = 0; i < 4; i++) {
        float& sum = ((const Lane*)lanes[l])->c[i];
        for (int k = 0; k < 16; k++) sum = fmaf(whole_a[l / 4 + i / 2 * 8][k], whole_b[k][2 * (l % 4) + i % 2], sum);
      }
  });
}
