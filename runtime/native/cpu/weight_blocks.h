/* The blocks of quantised weights as files have them, a struct a type: text for the CPU and for kernels, which say what
 * SKV_INLINE is.
 *
 * `at` is a block's bytes, or a super-block's: at.byte(i), at.half(i), an f16 as f32, and at.word(i), the four bytes
 * from i on, the first one lowest. Weight i of block s is d * (w - kZero) + m:
 *
 *   scales(at, s, h, d, m)   d and m of half h of block s, 16 weights; types without minima leave m as it is
 *   four(at, s, j)           w of the weights 4 j … 4 j + 3 of block s, a byte each, the first one lowest */
#ifndef SKV_WEIGHT_BLOCKS_H
#define SKV_WEIGHT_BLOCKS_H
#include "backend_records.h"

namespace skv {

/* Every byte of a word is x. */
#define SKV_EACH(x) (uint32_t(x) * 0x01010101u)

/* Nibbles of 16 bytes from i on: weight k has the low one of byte k, weight 16 + k the high one. */
template <class At>
SKV_INLINE uint32_t nibbles(const At& at, int i, int j) {
  return (at.word(i + 4 * (j % 4)) >> (j < 4 ? 0 : 4)) & SKV_EACH(15);
}
/* Nibbles of 64 weights in 32 bytes from i on: the low ones of all before the high ones. */
template <class At>
SKV_INLINE uint32_t nibbles_of_64(const At& at, int i, int s, int j) {
  return (at.word(i + s / 2 * 32 + 4 * j) >> (4 * (s % 2))) & SKV_EACH(15);
}
/* A fifth bit for each weight: bit k of a word for weight k. */
template <class At>
SKV_INLINE uint32_t fifth_bits(const At& at, int i, int j) {
  const uint32_t four = (at.word(i) >> (4 * j)) & 15;
  return ((four * 0x00204081u) & SKV_EACH(1)) << 4;
}

/* d, nibbles */
struct BlocksQ4_0 {
  static constexpr int kElements = SKV_ELEMENTS_Q4_0, kBytes = SKV_BYTES_Q4_0, kZero = 0;
  template <class At>
  SKV_INLINE void scales(const At& at, int, int, float* d, float* m) {
    *d = at.half(0);
    *m = -8.0f * *d;
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int, int j) {
    return nibbles(at, 2, j);
  }
};

/* d, m, nibbles */
struct BlocksQ4_1 {
  static constexpr int kElements = SKV_ELEMENTS_Q4_1, kBytes = SKV_BYTES_Q4_1, kZero = 0;
  template <class At>
  SKV_INLINE void scales(const At& at, int, int, float* d, float* m) {
    *d = at.half(0);
    *m = at.half(2);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int, int j) {
    return nibbles(at, 4, j);
  }
};

/* d, fifth bits, nibbles */
struct BlocksQ5_0 {
  static constexpr int kElements = SKV_ELEMENTS_Q5_0, kBytes = SKV_BYTES_Q5_0, kZero = 0;
  template <class At>
  SKV_INLINE void scales(const At& at, int, int, float* d, float* m) {
    *d = at.half(0);
    *m = -16.0f * *d;
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int, int j) {
    return nibbles(at, 6, j) | fifth_bits(at, 2, j);
  }
};

/* d, m, fifth bits, nibbles */
struct BlocksQ5_1 {
  static constexpr int kElements = SKV_ELEMENTS_Q5_1, kBytes = SKV_BYTES_Q5_1, kZero = 0;
  template <class At>
  SKV_INLINE void scales(const At& at, int, int, float* d, float* m) {
    *d = at.half(0);
    *m = at.half(2);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int, int j) {
    return nibbles(at, 8, j) | fifth_bits(at, 4, j);
  }
};

/* d, 32 signed values, which 128 is added to */
struct BlocksQ8_0 {
  static constexpr int kElements = SKV_ELEMENTS_Q8_0, kBytes = SKV_BYTES_Q8_0, kZero = 128;
  template <class At>
  SKV_INLINE void scales(const At& at, int, int, float* d, float*) {
    *d = at.half(0);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int, int j) {
    return at.word(2 + 4 * j) ^ SKV_EACH(128);
  }
};

/* 16 bytes of (scale, minimum) nibbles of 16 weights, 64 bytes of 2-bit values, d, dmin. */
struct BlocksQ2_K {
  static constexpr int kElements = SKV_ELEMENTS_Q2_K, kBytes = SKV_BYTES_Q2_K, kZero = 0;
  template <class At>
  SKV_INLINE void scales(const At& at, int s, int h, float* d, float* m) {
    const int both = at.byte(2 * s + h);
    *d = at.half(80) * float(both & 15);
    *m = -at.half(82) * float(both >> 4);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int s, int j) {
    return (at.word(16 + s / 4 * 32 + 4 * j) >> (2 * (s % 4))) & SKV_EACH(3);
  }
};

/* 32 bytes of third bits, 64 of 2-bit values, 12 of 6-bit scales, d. A weight is d * (scale - 32) * (value - 4). */
struct BlocksQ3_K {
  static constexpr int kElements = SKV_ELEMENTS_Q3_K, kBytes = SKV_BYTES_Q3_K, kZero = 32;
  template <class At>
  SKV_INLINE void scales(const At& at, int s, int h, float* d, float*) {
    const int k = 2 * s + h; /* of 16 scales: four low bits in bytes 0 … 7, two high ones in bytes 8 … 11 */
    const int four = k < 8 ? at.byte(96 + k) & 15 : at.byte(96 + k - 8) >> 4;
    const int two = (at.byte(96 + 8 + k % 4) >> (2 * (k / 4))) & 3;
    *d = at.half(108) * float((four | two << 4) - 32);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int s, int j) {
    const uint32_t low = (at.word(32 + s / 4 * 32 + 4 * j) >> (2 * (s % 4))) & SKV_EACH(3);
    const uint32_t high = (at.word(4 * j) >> s) & SKV_EACH(1);
    return (low | high << 2) + SKV_EACH(kZero - 4);
  }
};

/* Of a super-block with eight scales and minima, six bits each in 12 bytes behind d and dmin. */
template <class At>
SKV_INLINE void scales_k(const At& at, int s, float* d, float* m) {
  int scale, min;
  if (s < 4) {
    scale = at.byte(4 + s) & 63;
    min = at.byte(8 + s) & 63;
  } else {
    scale = (at.byte(8 + s) & 15) | (at.byte(s) >> 6) << 4;
    min = at.byte(8 + s) >> 4 | (at.byte(4 + s) >> 6) << 4;
  }
  *d = at.half(0) * float(scale);
  *m = -at.half(2) * float(min);
}

/* d, dmin, scales and minima, 128 bytes of nibbles. */
struct BlocksQ4_K {
  static constexpr int kElements = SKV_ELEMENTS_Q4_K, kBytes = SKV_BYTES_Q4_K, kZero = 0;
  template <class At>
  SKV_INLINE void scales(const At& at, int s, int, float* d, float* m) {
    scales_k(at, s, d, m);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int s, int j) {
    return nibbles_of_64(at, 16, s, j);
  }
};

/* The same with 32 bytes of fifth bits before the nibbles: bit s of byte i is block s, weight i. */
struct BlocksQ5_K {
  static constexpr int kElements = SKV_ELEMENTS_Q5_K, kBytes = SKV_BYTES_Q5_K, kZero = 0;
  template <class At>
  SKV_INLINE void scales(const At& at, int s, int, float* d, float* m) {
    scales_k(at, s, d, m);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int s, int j) {
    return nibbles_of_64(at, 48, s, j) | ((at.word(16 + 4 * j) >> s) & SKV_EACH(1)) << 4;
  }
};

/* 128 bytes of nibbles, 64 of 2-bit values above them, 16 signed scales of 16 weights, d. */
struct BlocksQ6_K {
  static constexpr int kElements = SKV_ELEMENTS_Q6_K, kBytes = SKV_BYTES_Q6_K, kZero = 32;
  template <class At>
  SKV_INLINE void scales(const At& at, int s, int h, float* d, float*) {
    *d = at.half(208) * float(int8_t(at.byte(192 + 2 * s + h)));
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int s, int j) {
    const int quarter = s % 4;
    const uint32_t low = at.word(s / 4 * 64 + quarter % 2 * 32 + 4 * j) >> (quarter / 2 * 4);
    const uint32_t high = at.word(128 + s / 4 * 32 + 4 * j) >> (2 * quarter);
    return (low & SKV_EACH(15)) | (high & SKV_EACH(3)) << 4;
  }
};

/* What the nibbles of IQ4 types stand for, with 128 added: four of them at once, out of four words of four. */
SKV_INLINE uint32_t look_up(uint32_t nibbles) {
  uint32_t out = 0;
  for (int e = 0; e < 4; e++) {
    const int n = (nibbles >> (8 * e)) & 15;
    const uint32_t word = n < 4 ? 0x3f2d1801u : n < 8 ? 0x766a5d4fu : n < 12 ? 0xa6998d81u : 0xf1d9c5b5u;
    out |= ((word >> (8 * (n % 4))) & 255) << (8 * e);
  }
  return out;
}

/* d, nibbles that stand for values of a table */
struct BlocksIQ4_NL {
  static constexpr int kElements = SKV_ELEMENTS_IQ4_NL, kBytes = SKV_BYTES_IQ4_NL, kZero = 128;
  template <class At>
  SKV_INLINE void scales(const At& at, int, int, float* d, float*) {
    *d = at.half(0);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int, int j) {
    return look_up(nibbles(at, 2, j));
  }
};

/* d, two high bits of eight scales, their four low bits, 128 bytes of such nibbles; a scale counts from -32. */
struct BlocksIQ4_XS {
  static constexpr int kElements = SKV_ELEMENTS_IQ4_XS, kBytes = SKV_BYTES_IQ4_XS, kZero = 128;
  template <class At>
  SKV_INLINE void scales(const At& at, int s, int, float* d, float*) {
    const int high = (at.byte(2 + s / 4) >> (2 * (s % 4))) & 3;
    const int scale = ((at.byte(4 + s / 2) >> (4 * (s % 2))) & 15) | high << 4;
    *d = at.half(0) * float(scale - 32);
  }
  template <class At>
  SKV_INLINE uint32_t four(const At& at, int s, int j) {
    return look_up(nibbles(at, 8 + s * 16, j));
  }
};

#undef SKV_EACH

}  // namespace skv
#endif
