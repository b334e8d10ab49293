// attend, generated tokens, second half: the splits of a row meet, in order, by their log-sum-exps.
//
//   grid (kv_heads, rows), 128 threads
//   bytes: 4 (d + 2) g per split, mostly from L2; bound by latency
#pragma once
#include "decode.cuh"

constexpr int kMergeThreads = 128;

template <class P, class KV, int D>
__global__ void __launch_bounds__(kMergeThreads) merge_kernel(Step s, int max_rows) {
  const int r = blockIdx.y;
  const skv_row row = load_row(s, r);
  if (row.policy != s.self || !is_decode(row)) return;
  const Head<KV, D> h(s, row, s.layer, blockIdx.x);
  const Left left(s, D, max_rows);
  const Global<const float> shares = global((const float*)s.logits);
  const int splits = splits_of(h.live);
  for (int i = threadIdx.x; i < s.group * D / 2; i += kMergeThreads) {
    const int g = i / (D / 2), d = i % (D / 2) * 2;
    float top = -INFINITY, sum = 0, value[2] = {0, 0};
    for (int k = 0; k < splits; k++) top = fmaxf(top, shares[left.share(r, h.head, k, g)]);
    for (int k = 0; k < splits; k++) {
      const int64_t at = left.share(r, h.head, k, g);
      const float scale = exp2_fast((shares[at] - top) * kLog2e);
      sum += shares[at + 1] * scale;
      value[0] += shares[at + 2 + d] * scale, value[1] += shares[at + 3 + d] * scale;
    }
    value[0] /= sum, value[1] /= sum;
    store_pair(s, global(s.out), (h.query(0) + g) * D + d, value);
    if (d == 0) global(s.lse)[h.query(0) + g] = top + skv_log(sum);
  }
}
