// Keys turned by their slots' shifts, while they are read: positions as if evicted tokens had never been. Stored keys
// keep their first rotation, so that no error adds up.
#pragma once
#include "pages.cuh"

// cos and sin of shift * frequency. The turns before the decimal point are dropped in f64: shifts may be large.
SKV_INLINE void turn_of(int shift, float frequency, float* c, float* s) {
  const double turns = (double)shift * (double)frequency * 0.15915494309189535;
  sin_cos_pi(2.0f * (float)(turns - rint(turns)), s, c);
}

// Turns two elements that RoPE turns together.
SKV_INLINE void turn_pair(float* first, float* second, int shift, float frequency) {
  float c, s;
  turn_of(shift, frequency, &c, &s);
  const float a = *first, b = *second;
  *first = a * c - b * s, *second = a * s + b * c;
}
