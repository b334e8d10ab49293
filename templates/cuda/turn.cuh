// Keys turned by their slots' shifts, while they are read: positions as if evicted tokens had never been. Stored keys
// keep their first rotation, so that no error adds up.
#pragma once
#include "pages.cuh"

// cos and sin of shift * frequency. The turns before the decimal point are dropped in f64: shifts may be large.
SKV_INLINE void turn_of(int shift, float frequency, float* c, float* s) {
  const double turns = (double)shift * (double)frequency * 0.15915494309189535;
  sin_cos_pi(2.0f * (float)(turns - rint(turns)), s, c);
}

// Which frequency turns dim d, and whether d is the first of its pair.
SKV_INLINE int frequency_of(bool interleaved, int d, int dim, bool* first) {
  const int half = dim / 2;
  *first = interleaved ? d % 2 == 0 : d < half;
  return interleaved ? d / 2 : d % half;
}

// An element after the turn, from itself and the other of its pair.
SKV_INLINE float turned(float own, float other, bool first, float c, float s) {
  return first ? own * c - other * s : other * s + own * c;
}
