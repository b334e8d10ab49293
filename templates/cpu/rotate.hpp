// Rotated keys: a page's keys with their slots' shifts applied, positions as if evicted tokens had never been. Stored
// keys keep their first rotation, so that no error adds up.
//
//   keys of a page -> keys laid out alike [dim / 2][16 slots][2]; shift [16 slots] in positions
//   costs per slot and pair of dims two complex products: the key's, and the angle's, unless the slot before has the
//   same shift or the thread has just rotated a page with the same ones
#pragma once
#include <vector>

#include "layout.hpp"

// cos and sin of shift * frequency: two tables, for the low and the high byte of a shift, meet in one complex product.
// Larger shifts are rare (attention sinks) and computed. Each thread has its own, made when it first needs one.
class Angles {
 public:
  // Writes [half] cosines and sines.
  void at(uint32_t shift, const float* inv_freq, int half, float* cosine, float* sine) {
    if (shift >> 16) return compute(shift, inv_freq, half, cosine, sine);
    if ((int)freq_.size() != half || memcmp(freq_.data(), inv_freq, half * sizeof(float))) build(inv_freq, half);
    const float *low = entry(shift & 255), *high = entry(256 + (shift >> 8));
    for (int i = 0; i < half; i++) {
      cosine[i] = low[i] * high[i] - low[half + i] * high[half + i];
      sine[i] = low[half + i] * high[i] + low[i] * high[half + i];
    }
  }

 private:
  static void compute(uint32_t shift, const float* inv_freq, int half, float* cosine, float* sine) {
    for (int i = 0; i < half; i++) {
      const double angle = (double)shift * (double)inv_freq[i];
      cosine[i] = (float)__builtin_cos(angle);
      sine[i] = (float)__builtin_sin(angle);
    }
  }
  float* entry(uint32_t i) { return table_.data() + i * 2 * freq_.size(); }
  void build(const float* inv_freq, int half) {
    freq_.assign(inv_freq, inv_freq + half);
    table_.resize(512 * 2 * half);
    for (uint32_t i = 0; i < 512; i++) compute(i < 256 ? i : (i - 256) << 8, inv_freq, half, entry(i), entry(i) + half);
  }
  std::vector<float> freq_, table_;  // [half], [512][cos, sin][half]
};

inline thread_local Angles angles;

// Angles of a page's slots, as its keys lie. Each thread keeps those of the page that it rotated last: where positions
// alone decide what leaves (sinks, a window), it is the same page in all heads and layers.
class PageAngles {
 public:
  // [half][16 slots]
  const f32x16* cosines() const { return cosine_; }
  const f32x16* sines() const { return sine_; }
  // shift [16 slots]
  void of(const int32_t* shift, const float* inv_freq, int half) {
    if (half == half_ && !memcmp(shift_, shift, sizeof shift_) && !memcmp(freq_, inv_freq, half * sizeof(float)))
      return;
    half_ = half;
    memcpy(shift_, shift, sizeof shift_);
    memcpy(freq_, inv_freq, half * sizeof(float));
    float cosine[SKV_PAGE][kMaxDim / 2], sine[SKV_PAGE][kMaxDim / 2];
    for (int s = 0; s < SKV_PAGE; s++) {
      if (s > 0 && shift[s] == shift[s - 1]) {  // neighbours often have the same
        memcpy(cosine[s], cosine[s - 1], half * sizeof(float));
        memcpy(sine[s], sine[s - 1], half * sizeof(float));
      } else {
        angles.at(shift[s], inv_freq, half, cosine[s], sine[s]);
      }
    }
    for (int i0 = 0; i0 < half; i0 += 16) {
      transpose_to(cosine, i0, half, cosine_);
      transpose_to(sine, i0, half, sine_);
    }
  }

 private:
  // Of frequencies i0 …, at most sixteen.
  static void transpose_to(const float (*from)[kMaxDim / 2], int i0, int half, f32x16* to) {
    f32x16 m[16];
    for (int s = 0; s < SKV_PAGE; s++) m[s] = *(const f32x16u*)(from[s] + i0);
    transpose(m);
    for (int i = i0; i < i0 + 16 && i < half; i++) to[i] = m[i - i0];
  }
  int half_ = 0;
  int32_t shift_[SKV_PAGE];
  float freq_[kMaxDim / 2];
  f32x16 cosine_[kMaxDim / 2], sine_[kMaxDim / 2];
};

inline thread_local PageAngles page_angles;

// The first of two dims that RoPE rotates together; the second is rotated(y, -x, …).
SKV_INLINE f32x16 rotated(f32x16 x, f32x16 y, f32x16 cosine, f32x16 sine) { return x * cosine - y * sine; }

// Keys of page p rotated by their slots' shifts, laid out as they are.
template <class KV>
void rotated_keys(const Head<KV>& h, int p, const int32_t* shift, typename KV::Word* out) {
  const int half = h.dim / 2;
  int32_t moved[SKV_PAGE];
  for (int s = 0; s < SKV_PAGE; s++) moved[s] = p * SKV_PAGE + s < *h.length ? shift[s] : 0;  // others hold anything
  page_angles.of(moved, h.inv_freq(), half);
  const f32x16 *c = page_angles.cosines(), *n = page_angles.sines();
  const auto* keys = h.keys(p);
  for (int i = 0; i < half; i += h.shape->rope_interleaved ? 1 : 2) {
    if (h.shape->rope_interleaved) {
      const auto pairs = KV::key_pairs(keys, i);
      const f32x16 x = KV::even_of(pairs), y = KV::odd_of(pairs);
      KV::put_key_pairs(out, i, KV::pairs_of(rotated(x, y, c[i], n[i]), rotated(y, -x, c[i], n[i])));
    } else {
      const auto first = KV::key_pairs(keys, i / 2), second = KV::key_pairs(keys, (i + half) / 2);
      const f32x16 x = KV::even_of(first), y = KV::even_of(second), u = KV::odd_of(first), v = KV::odd_of(second);
      KV::put_key_pairs(out, i / 2, KV::pairs_of(rotated(x, y, c[i], n[i]), rotated(u, v, c[i + 1], n[i + 1])));
      KV::put_key_pairs(out, (i + half) / 2,
                        KV::pairs_of(rotated(y, -x, c[i], n[i]), rotated(v, -u, c[i + 1], n[i + 1])));
    }
  }
}
