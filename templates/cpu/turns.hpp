// Cache-relative positions: a page's keys, turned while they are read.
#pragma once
#include <vector>

#include "pages.hpp"

// cos and sin of shift * frequency: two tables, for the low and the high byte of a shift, meet in one complex product.
// Larger shifts are rare (attention sinks) and computed. Each thread has its own, made when it first needs one.
class Turns {
 public:
  // Writes [half] cosines and sines.
  void at(uint32_t shift, const float* inv_freq, int half, float* cosine, float* sine) {
    if (shift >> 16) return compute(shift, inv_freq, half, cosine, sine);
    if ((int)freq_.size() != half || memcmp(freq_.data(), inv_freq, half * sizeof(float))) build(inv_freq, half);
    const float *low = row(shift & 255), *high = row(256 + (shift >> 8));
    for (int i = 0; i < half; i++) {
      cosine[i] = low[i] * high[i] - low[half + i] * high[half + i];
      sine[i] = low[half + i] * high[i] + low[i] * high[half + i];
    }
  }

 private:
  static void compute(uint32_t shift, const float* inv_freq, int half, float* cosine, float* sine) {
    for (int i = 0; i < half; i++) {
      const double angle = (double)shift * (double)inv_freq[i];
      cosine[i] = (float)__builtin_cos(angle), sine[i] = (float)__builtin_sin(angle);
    }
  }
  float* row(uint32_t i) { return table_.data() + i * 2 * freq_.size(); }
  void build(const float* inv_freq, int half) {
    freq_.assign(inv_freq, inv_freq + half);
    table_.resize(512 * 2 * half);
    for (uint32_t i = 0; i < 512; i++) compute(i < 256 ? i : (i - 256) << 8, inv_freq, half, row(i), row(i) + half);
  }
  std::vector<float> freq_, table_;  // [half], [512][cos, sin][half]
};

inline thread_local Turns turns;

// Keys of a page, laid out as its own, turned by their slots' shifts: positions as if evicted tokens had never been.
// Angles are looked up a slot at a time, once for neighbours with the same shift, and transposed to lie as the keys do.
template <class KV>
void turned_keys(const Head<KV>& h, int p, const int32_t* shift, typename KV::Word* out) {
  const int half = h.dim / 2;
  float cosine[SKV_PAGE][kMaxDim / 2], sine[SKV_PAGE][kMaxDim / 2];
  for (int s = 0; s < SKV_PAGE; s++) {
    const int slot = p * SKV_PAGE + s < *h.length ? shift[s] : 0;  // slots that are not there hold anything
    if (s > 0 && slot == shift[s - 1]) {
      memcpy(cosine[s], cosine[s - 1], half * sizeof(float)), memcpy(sine[s], sine[s - 1], half * sizeof(float));
    } else {
      turns.at(slot, h.shape->inv_freq, half, cosine[s], sine[s]);
    }
  }
  const auto* keys = h.keys(p);
  for (int i0 = 0; i0 < half; i0 += 16) {
    f32x16 c[16], n[16];
    for (int s = 0; s < SKV_PAGE; s++) c[s] = *(const f32x16u*)(cosine[s] + i0), n[s] = *(const f32x16u*)(sine[s] + i0);
    transpose(c), transpose(n);
    for (int i = i0; i < i0 + 16 && i < half; i += h.shape->rope_interleaved ? 1 : 2) {
      const auto turn = [](f32x16 x, f32x16 y, f32x16 c, f32x16 n) { return x * c - y * n; };
      const f32x16 ci = c[i - i0], ni = n[i - i0];
      if (h.shape->rope_interleaved) {
        const auto line = KV::key_line(keys, i);
        const f32x16 x = KV::even_of(line), y = KV::odd_of(line);
        KV::put_key_line(out, i, KV::line_of(turn(x, y, ci, ni), turn(y, -x, ci, ni)));
      } else {
        const auto first = KV::key_line(keys, i / 2), second = KV::key_line(keys, (i + half) / 2);
        const f32x16 cj = c[i + 1 - i0], nj = n[i + 1 - i0];
        const f32x16 x = KV::even_of(first), y = KV::even_of(second), u = KV::odd_of(first), v = KV::odd_of(second);
        KV::put_key_line(out, i / 2, KV::line_of(turn(x, y, ci, ni), turn(u, v, cj, nj)));
        KV::put_key_line(out, (i + half) / 2, KV::line_of(turn(y, -x, ci, ni), turn(v, -u, cj, nj)));
      }
    }
  }
}
