// Rotated keys: their slots' shifts applied while they are read, positions as if evicted tokens had never been. Stored
// keys keep their first rotation, so that no error adds up.
#pragma once
#include "layout.cuh"

// cos and sin of shift * frequency. Whole revolutions are dropped in f64: shifts may be large.
SKV_INLINE void angle_of(int shift, float frequency, float* c, float* s) {
  const double revolutions = (double)shift * (double)frequency * 0.15915494309189535;
  sin_cos_pi(2.0f * (float)(revolutions - rint(revolutions)), s, c);
}

// Rotates two elements that RoPE rotates together.
SKV_INLINE void rotate_pair(float* first, float* second, int shift, float frequency) {
  float c, s;
  angle_of(shift, frequency, &c, &s);
  const float a = *first, b = *second;
  *first = a * c - b * s;
  *second = a * s + b * c;
}
