// What lanes of a warp do together: shuffles, votes, __syncwarp, the matrix product. The last lane of the mask to
// arrive does the work for all, then all go on. Lanes that meet in different places, or never, are an error.
#pragma once
#include <algorithm>

#include "memory.hpp"

namespace emulate {

struct Meet {
  uint32_t mask = 0, arrived = 0;
  const char* what = "";
  Place place;
  void* lane[32];
};

struct Meets {
  uint32_t under_way = 0;  // bits of those
  Meet of[32];
};

inline Meets meets[32];  // [warp]

// Runs act(lane pointers, mask) once all lanes of the mask have come here with their `mine`.
template <class Act>
void meet(uint32_t mask, void* mine, const char* what, Place place, Act&& act) {
  const int warp = machine.now / 32, lane = machine.now % 32;
  if (!(mask >> lane & 1)) fail(place, "%s with a mask (%08x) without the lane itself", what, mask);
  Meets& all = meets[warp];
  uint32_t others = all.under_way;
  while (others && all.of[__builtin_ctz(others)].mask != mask) others &= others - 1;
  const int at = __builtin_ctz(others ? others : ~all.under_way);
  Meet& m = all.of[at];
  if (!others) {
    m.mask = mask;
    m.arrived = 0;
    m.what = what;
    m.place = place;
  }
  all.under_way |= 1u << at;
  if (!(m.place == place))
    fail(place, "lanes of a warp meet in two places: here at %s, others at %s, line %d", what, m.what, m.place.line);
  m.arrived |= 1u << lane;
  m.lane[lane] = mine;
  if (m.arrived != mask) return yield(State::in_warp, what, place);
  all.under_way &= ~(1u << at);
  act(m.lane, mask);
  for (int l = 0; l < 32; l++)
    if (mask >> l & 1) machine.threads[warp * 32 + l].state = State::ready;
}

enum class Source { exclusive, index, up, down };

template <class T>
T shuffle(Source kind, uint32_t mask, T value, int n, Place place) {
  struct Lane {
    T value, result;
    int n;
  } mine{value, value, n};
  meet(mask, &mine, "a shuffle", place, [&](void** lanes, uint32_t) {
    for (int l = 0; l < 32; l++) {
      if (!(mask >> l & 1)) continue;
      Lane& to = *(Lane*)lanes[l];
      const int from = kind == Source::exclusive ? l ^ to.n
                       : kind == Source::index   ? to.n & 31
                       : kind == Source::up      ? l - to.n
                                                 : l + to.n;
      if (from < 0 || from > 31) continue;  // up and down keep their own
      if (!(mask >> from & 1)) fail(place, "lane %d reads lane %d, which is not in the mask %08x", l, from, mask);
      to.result = ((Lane*)lanes[from])->value;
    }
  });
  return mine.result;
}

inline uint32_t ballot(uint32_t mask, bool yes, Place place) {
  struct Lane {
    bool yes;
    uint32_t result;
  } mine{yes, 0};
  meet(mask, &mine, "a vote", place, [&](void** lanes, uint32_t) {
    uint32_t all = 0;
    for (int l = 0; l < 32; l++)
      if (mask >> l & 1) all |= uint32_t(((Lane*)lanes[l])->yes) << l;
    for (int l = 0; l < 32; l++)
      if (mask >> l & 1) ((Lane*)lanes[l])->result = all;
  });
  return mine.result;
}

inline uint32_t match(uint32_t mask, uint32_t value, Place place) {
  struct Lane {
    uint32_t value, result;
  } mine{value, 0};
  meet(mask, &mine, "a match", place, [&](void** lanes, uint32_t) {
    for (int l = 0; l < 32; l++)
      for (int k = 0; k < 32; k++)
        if ((mask >> l & 1) && (mask >> k & 1) && ((Lane*)lanes[l])->value == ((Lane*)lanes[k])->value)
          ((Lane*)lanes[l])->result |= 1u << k;
  });
  return mine.result;
}

// Orders the accesses of the mask's lanes: their count of such stretches becomes one more than the largest.
inline void sync_warp(Place place, uint32_t mask = ~0u) {
  meet(mask, nullptr, "__syncwarp()", place, [mask](void**, uint32_t) {
    Thread* lane = &machine.threads[machine.now / 32 * 32];
    uint32_t epoch = 0;
    for (int l = 0; l < 32; l++)
      if (mask >> l & 1) epoch = std::max(epoch, lane[l].warp_epoch + 1);
    for (int l = 0; l < 32; l++)
      if (mask >> l & 1) lane[l].warp_epoch = epoch;
  });
}

inline void forget_meets(int threads) {
  for (int w = 0; w * 32 < threads; w++) meets[w].under_way = 0;
}

}  // namespace emulate
