// What is done to the slots of pages for a policy's passes: vectors read, slots moved.
#pragma once
#include "kernels.hpp"
#include "layout.hpp"

// Keys of all slots of a page, out [dim][16 slots].
template <class KV>
SKV_INLINE void read_keys(const typename KV::Word* keys, int dim, f32x16* out) {
  for (int j = 0; j < dim / 2; j++) {
    const auto pairs = KV::key_pairs(keys, j);
    out[2 * j] = KV::even_of(pairs);
    out[2 * j + 1] = KV::odd_of(pairs);
  }
}

// Values of slots [slot0, slot1) of a page, out [dim][16 slots]; where others are, numbers.
template <class KV>
SKV_INLINE void read_values(const typename KV::Word* values, int slot0, int slot1, int dim, f32x16* out) {
  if (slot1 - slot0 == 1) {  // as when one is appended
    for (int d = 0; d < dim; d++) out[d] = splat(KV::decode(*KV::value_at(values, d, slot0, dim)));
    return;
  }
  for (int d = 0; d < dim; d += 16) {
    f32x16* m = out + d;
    for (int i = 0; i < SKV_PAGE / 2; i++) {
      const auto pairs = KV::value_pairs(values, i, d, dim);
      m[2 * i] = KV::even_of(pairs);
      m[2 * i + 1] = KV::odd_of(pairs);
    }
    transpose(m);
  }
}

// Words of a slot's key: one in each row of 16.
template <class KV>
SKV_INLINE int key_rows(const Head<KV>& h) {
  return h.dim * int(sizeof(typename KV::Word)) / 4;
}

// Copies a slot over another: key, value and lanes.
template <class KV>
SKV_INLINE void move_slot(const Head<KV>& h, int lanes, int from, int to) {
  const int pf = from / SKV_PAGE, sf = from % SKV_PAGE, pt = to / SKV_PAGE, st = to % SKV_PAGE;
  const auto* old_key = (const uint32_t*)h.keys(pf);
  auto* key = (uint32_t*)h.keys(pt);
  for (int i = 0; i < key_rows(h); i++) key[i * SKV_PAGE + st] = old_key[i * SKV_PAGE + sf];
  KV::move_value(h.values(pf), sf, h.values(pt), st, h.dim);
  for (int i = 0; i < lanes; i++) h.lane(pt, i)[st] = h.lane(pf, i)[sf];
}

// Prefetches a page's keys, and values of its holes, which will be written.
template <class KV>
SKV_INLINE void prefetch_holes(const Head<KV>& h, int p, int end, const uint8_t* stays) {
  const int slots = std::min(end - p * SKV_PAGE, SKV_PAGE), pair = h.dim * int(sizeof(typename KV::Word)) * 2;
  uint32_t holes = 0;
  for (int s = 0; s < slots; s++) holes |= uint32_t(!stays[p * SKV_PAGE + s]) << s / 2;
  if (!holes) return;
  const auto *keys = (const uint8_t*)h.keys(p), *values = (const uint8_t*)h.values(p);
  for (int b = 0; b < key_rows(h) * 64; b += 64) __builtin_prefetch(keys + b, 1);
  for (; holes; holes &= holes - 1)
    for (int b = 0; b < pair; b += 64) __builtin_prefetch(values + __builtin_ctz(holes) * pair + b, 1);
}

// The holes below `end`, from `hole` on, take the slots that stay from it on, in order.
template <class KV>
void fill_holes(const AnyHead& any, int lanes, int hole, int end, const uint8_t* stays) {
  const Head<KV> h(any);
  for (int to = hole, from = end; to < end; to++) {
    if (to == hole || to % SKV_PAGE == 0) prefetch_holes(h, to / SKV_PAGE + 2, end, stays);
    if (stays[to]) continue;
    while (!stays[from]) from++;
    move_slot(h, lanes, from++, to);
  }
}

// Word from[l] of sixteen in lane l.
SKV_INLINE u32x16 taken(u32x16 words, u32x16 from) {
#if defined(__AVX512F__)
  return (u32x16)_mm512_permutexvar_epi32((__m512i)from, (__m512i)words);
#elif defined(__AVX2__)
  union Halves {
    u32x16 all;
    __m256i half[2];
  } x = {words}, at = {from}, out;
  for (int i = 0; i < 2; i++) {
    const __m256i low = _mm256_permutevar8x32_epi32(x.half[0], at.half[i]);
    const __m256i high = _mm256_permutevar8x32_epi32(x.half[1], at.half[i]);
    out.half[i] = _mm256_blendv_epi8(low, high, _mm256_cmpgt_epi32(at.half[i], _mm256_set1_epi32(7)));
  }
  return out.all;
#else
  u32x16 out;
  for (int l = 0; l < 16; l++) out[l] = words[from[l]];
  return out;
#endif
}

// Where a page's slots go: lane l of the page that is being filled takes slot from[l] if here[l], and of the page
// behind it if beyond[l].
struct PageMoves {
  u32x16 from;
  i32x16 here, beyond;
  bool overflows;
};

// Of slots [first, end) of a page those that stay, the first of them to lane `fill`.
SKV_INLINE PageMoves page_moves(const uint8_t* stays, int first, int end, int fill) {
  alignas(64) uint32_t from[SKV_PAGE] = {0};
  alignas(64) int32_t here[SKV_PAGE] = {0};
  alignas(64) int32_t beyond[SKV_PAGE] = {0};
  int lane = fill;
  for (int s = first; s < end; s++) {
    if (!stays[s]) continue;
    from[lane % SKV_PAGE] = s;
    (lane < SKV_PAGE ? here : beyond)[lane % SKV_PAGE] = -1;
    lane++;
  }
  return {*(u32x16*)from, *(i32x16*)here, *(i32x16*)beyond, lane > SKV_PAGE};
}

// The same of a page that stays as a whole.
SKV_INLINE PageMoves whole_page_moves(int fill) {
  const u32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const i32x16 before = first_lanes(fill);
  return {(lane - (uint32_t)fill) & 15u, ~before, before, fill > 0};
}

// Rows of 16 words, a word a slot. A row is read before its slots are written: `to` and `behind` may be its own page.
SKV_INLINE void move_rows(int rows, const PageMoves& moves, const void* page, void* to, void* behind) {
  const auto* source = (const u32x16*)page;
  auto *out = (u32x16*)to, *next = (u32x16*)behind;
  for (int i = 0; i < rows; i++) {
    const u32x16 words = taken(source[i], moves.from);
    out[i] = moves.here ? words : out[i];
    if (moves.overflows) next[i] = moves.beyond ? words : next[i];
  }
}

// Moves those of slots [hole, live) that stay down, in order, into the hole: page by page.
template <class KV>
void move_down(const AnyHead& any, int lanes, int hole, int live, const uint8_t* stays) {
  const Head<KV> h(any);
  int to = hole;
  for (int p = hole / SKV_PAGE; p * SKV_PAGE < live; p++) {
    const uint8_t* own = stays + p * SKV_PAGE;
    const int first = std::max(hole + 1 - p * SKV_PAGE, 0), end = std::min(live - p * SKV_PAGE, SKV_PAGE);
    const int page = to / SKV_PAGE, fill = to % SKV_PAGE;
    int moved = 0;
    for (int s = first; s < end; s++) moved += own[s];
    if (moved == 0) continue;
    const PageMoves moves = moved == SKV_PAGE ? whole_page_moves(fill) : page_moves(own, first, end, fill);
    const int behind = page + moves.overflows;  // else not written
    move_rows(key_rows(h), moves, h.keys(p), h.keys(page), h.keys(behind));
    move_rows(lanes, moves, h.lane(p, 0), h.lane(page, 0), h.lane(behind, 0));
    auto *values = h.values(p), *out = h.values(page), *next = h.values(behind);
    for (int s = first, lane = fill; s < end; s++) {
      if (!own[s]) continue;
      KV::move_value(values, s, lane < SKV_PAGE ? out : next, lane % SKV_PAGE, h.dim);
      lane++;
    }
    to += moved;
  }
}
