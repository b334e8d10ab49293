#include "weight_types.h"

#include "backend.h"

namespace skv {
namespace {

/* Blocks of 32 in a row of them; and in a super-block of 256, whose scales are small numbers times its own. */
constexpr int kSuper = 256;
constexpr int kBlocksOfSuper = kSuper / kBlock;

float f16_at(const uint8_t* at) { return plain_at(Format::F16, at, 0); }

void both(float (&to)[2], float value) { to[0] = to[1] = value; }

/* Nibbles of 16 bytes: input i has the low one of byte i, input 16 + i the high one. */
void nibbles(const uint8_t* at, uint8_t* w) {
  for (int i = 0; i < 16; i++) {
    w[i] = at[i] & 15;
    w[16 + i] = at[i] >> 4;
  }
}

/* Nibbles of half a super-block's quarter: 64 inputs in 32 bytes, the low ones of all before the high ones. */
void nibbles_of_64(const uint8_t* at, int b, uint8_t* w) {
  const int shift = 4 * (b % 2);
  for (int i = 0; i < kBlock; i++) w[i] = (at[i] >> shift) & 15;
}

/* d, nibbles */
void read_q4_0(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b * SKV_BYTES_Q4_0;
  both(out->d, f16_at(at));
  both(out->m, -8.0f * out->d[0]);
  nibbles(at + 2, out->w);
}

/* d, m, nibbles */
void read_q4_1(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b * SKV_BYTES_Q4_1;
  both(out->d, f16_at(at));
  both(out->m, f16_at(at + 2));
  nibbles(at + 4, out->w);
}

/* A fifth bit for each nibble: bit i of a word for input i. */
void fifth_bits(const uint8_t* at, uint8_t* w) {
  uint32_t bits;
  memcpy(&bits, at, 4);
  for (int i = 0; i < kBlock; i++) w[i] |= ((bits >> i) & 1) << 4;
}

/* d, fifth bits, nibbles */
void read_q5_0(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b * SKV_BYTES_Q5_0;
  both(out->d, f16_at(at));
  both(out->m, -16.0f * out->d[0]);
  nibbles(at + 6, out->w);
  fifth_bits(at + 2, out->w);
}

/* d, m, fifth bits, nibbles */
void read_q5_1(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b * SKV_BYTES_Q5_1;
  both(out->d, f16_at(at));
  both(out->m, f16_at(at + 2));
  nibbles(at + 8, out->w);
  fifth_bits(at + 4, out->w);
}

/* d, 32 signed values */
void read_q8_0(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b * SKV_BYTES_Q8_0;
  both(out->d, f16_at(at));
  for (int i = 0; i < kBlock; i++) out->w[i] = at[2 + i] ^ 128; /* adds 128 */
}

/* 16 bytes of (scale, minimum) nibbles of 16 inputs, 64 bytes of 2-bit values, d, dmin. */
void read_q2_k(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b / kBlocksOfSuper * SKV_BYTES_Q2_K;
  const int s = b % kBlocksOfSuper;
  const float d = f16_at(at + 80), dmin = f16_at(at + 82);
  for (int h = 0; h < 2; h++) {
    const uint8_t scales = at[2 * s + h];
    out->d[h] = d * float(scales & 15);
    out->m[h] = -dmin * float(scales >> 4);
  }
  for (int i = 0; i < kBlock; i++) out->w[i] = (at[16 + s / 4 * 32 + i] >> (2 * (s % 4))) & 3;
}

/* 32 bytes of third bits, 64 of 2-bit values, 12 of 6-bit scales, d. A weight is d * (scale - 32) * (value - 4). */
void read_q3_k(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b / kBlocksOfSuper * SKV_BYTES_Q3_K;
  const int s = b % kBlocksOfSuper;
  const uint8_t *high = at, *low = at + 32, *scales = at + 96;
  const float d = f16_at(at + 108);
  for (int h = 0; h < 2; h++) {
    const int k = 2 * s + h; /* of 16 scales: four low bits in bytes 0 … 7, two high ones in bytes 8 … 11 */
    const int four = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4, two = (scales[8 + k % 4] >> (2 * (k / 4))) & 3;
    out->d[h] = d * float((four | two << 4) - 32);
  }
  for (int i = 0; i < kBlock; i++) {
    const int value = ((low[s / 4 * 32 + i] >> (2 * (s % 4))) & 3) | ((high[i] >> s) & 1) << 2;
    out->w[i] = uint8_t(value - 4 + kQ6Zero);
  }
}

/* Scale and minimum of block s of a super-block with eight of each, six bits each in 12 bytes. */
void scale_and_min(const uint8_t* at, int s, int* scale, int* min) {
  if (s < 4) {
    *scale = at[s] & 63;
    *min = at[4 + s] & 63;
  } else {
    *scale = (at[4 + s] & 15) | (at[s - 4] >> 6) << 4;
    *min = at[4 + s] >> 4 | (at[s] >> 6) << 4;
  }
}

/* d, dmin, scales and minima; into out's scales. */
void read_scales_k(const uint8_t* at, int s, FileBlock* out) {
  int scale, min;
  scale_and_min(at + 4, s, &scale, &min);
  both(out->d, f16_at(at) * float(scale));
  both(out->m, -f16_at(at + 2) * float(min));
}

/* d, dmin, scales and minima, 128 bytes of nibbles. */
void read_q4_k(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b / kBlocksOfSuper * SKV_BYTES_Q4_K;
  const int s = b % kBlocksOfSuper;
  read_scales_k(at, s, out);
  nibbles_of_64(at + 16 + s / 2 * 32, s, out->w);
}

/* The same with 32 bytes of fifth bits before the nibbles: bit s of byte i is block s, input i. */
void read_q5_k(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b / kBlocksOfSuper * SKV_BYTES_Q5_K;
  const int s = b % kBlocksOfSuper;
  read_scales_k(at, s, out);
  nibbles_of_64(at + 48 + s / 2 * 32, s, out->w);
  for (int i = 0; i < kBlock; i++) out->w[i] |= ((at[16 + i] >> s) & 1) << 4;
}

/* 128 bytes of nibbles, 64 of 2-bit values above them, 16 signed scales of 16 inputs, d. */
void read_q6_k(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b / kBlocksOfSuper * SKV_BYTES_Q6_K;
  const int s = b % kBlocksOfSuper, quarter = s % 4;
  const uint8_t *low = at + s / 4 * 64 + quarter % 2 * 32, *high = at + 128 + s / 4 * 32;
  const float d = f16_at(at + 208);
  for (int h = 0; h < 2; h++) {
    out->d[h] = d * float(int8_t(at[192 + 2 * s + h]));
  }
  for (int i = 0; i < kBlock; i++)
    out->w[i] = uint8_t(((low[i] >> (quarter / 2 * 4)) & 15) | ((high[i] >> (2 * quarter)) & 3) << 4);
}

/* What the nibbles of IQ4 types stand for, with 128 added. */
constexpr uint8_t kIq4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

void look_up(uint8_t* w) {
  for (int i = 0; i < kBlock; i++) w[i] = kIq4[w[i]];
}

/* d, nibbles that stand for values of a table */
void read_iq4_nl(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b * SKV_BYTES_IQ4_NL;
  both(out->d, f16_at(at));
  nibbles(at + 2, out->w);
  look_up(out->w);
}

/* d, two high bits of eight scales, their four low bits, 128 bytes of such nibbles; a scale counts from -32. */
void read_iq4_xs(const uint8_t* row, int b, FileBlock* out) {
  const uint8_t* at = row + b / kBlocksOfSuper * SKV_BYTES_IQ4_XS;
  const int s = b % kBlocksOfSuper;
  uint16_t high;
  memcpy(&high, at + 2, 2);
  const int scale = ((at[4 + s / 2] >> (4 * (s % 2))) & 15) | ((high >> (2 * s)) & 3) << 4;
  both(out->d, f16_at(at) * float(scale - 32));
  nibbles(at + 8 + s * 16, out->w);
  look_up(out->w);
}

#define ROW(name, format, read) {SKV_W_##name, Format::format, SKV_ELEMENTS_##name, SKV_BYTES_##name, read}
constexpr WeightType kWeightTypes[] = {
    ROW(F32, F32, nullptr),   ROW(F16, F16, nullptr),       ROW(BF16, BF16, nullptr),     ROW(Q4_0, Q4, read_q4_0),
    ROW(Q4_1, Q4, read_q4_1), ROW(Q5_0, Q5, read_q5_0),     ROW(Q5_1, Q5, read_q5_1),     ROW(Q8_0, Q8, read_q8_0),
    ROW(Q2_K, Q2, read_q2_k), ROW(Q3_K, Q6, read_q3_k),     ROW(Q4_K, Q4, read_q4_k),     ROW(Q5_K, Q5, read_q5_k),
    ROW(Q6_K, Q6, read_q6_k), ROW(IQ4_NL, Q8, read_iq4_nl), ROW(IQ4_XS, Q8, read_iq4_xs),
};
#undef ROW

}  // namespace

const WeightType* find_weight_type(int32_t type) {
  for (const WeightType& each : kWeightTypes)
    if (each.type == type) return &each;
  return nullptr;
}

}  // namespace skv
