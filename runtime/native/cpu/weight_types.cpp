#include "weight_types.h"

#define SKV_INLINE static inline
#include "weight_blocks.h"

namespace skv {
namespace {

/* Bytes of a block in memory. */
struct InMemory {
  const uint8_t* at;
  int byte(int i) const { return at[i]; }
  float half(int i) const { return plain_at(Format::F16, at + i, 0); }
  uint32_t word(int i) const {
    uint32_t out;
    memcpy(&out, at + i, 4);
    return out;
  }
};

template <class Blocks>
void read(const uint8_t* row, int b, FileBlock* out) {
  constexpr int kInOne = Blocks::kElements / kBlock; /* blocks of a super-block */
  const InMemory at = {row + b / kInOne * Blocks::kBytes};
  const int s = b % kInOne;
  for (int h = 0; h < 2; h++) Blocks::scales(at, s, h, &out->d[h], &out->m[h]);
  for (int j = 0; j < kBlock / 4; j++) {
    const uint32_t four = Blocks::four(at, s, j);
    memcpy(out->w + 4 * j, &four, 4);
  }
}

#define PLAIN(name) {SKV_W_##name, Format::name, SKV_ELEMENTS_##name, SKV_BYTES_##name, nullptr}
#define ROW(name, format) {SKV_W_##name, Format::format, SKV_ELEMENTS_##name, SKV_BYTES_##name, read<Blocks##name>}
constexpr WeightType kWeightTypes[] = {
    PLAIN(F32),    PLAIN(F16),    PLAIN(BF16),   ROW(Q4_0, Q4),   ROW(Q4_1, Q4),
    ROW(Q5_0, Q5), ROW(Q5_1, Q5), ROW(Q8_0, Q8), ROW(Q2_K, Q2),   ROW(Q3_K, Q6),
    ROW(Q4_K, Q4), ROW(Q5_K, Q5), ROW(Q6_K, Q6), ROW(IQ4_NL, Q8), ROW(IQ4_XS, Q8),
};
#undef PLAIN
#undef ROW

}  // namespace

const WeightType* find_weight_type(int32_t type) {
  for (const WeightType& each : kWeightTypes)
    if (each.type == type) return &each;
  return nullptr;
}

}  // namespace skv
