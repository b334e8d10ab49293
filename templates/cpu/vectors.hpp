// The vectors of a page's slots, keys or values, for a policy's expressions. What is asked of one slot's vector alone,
// or of it and a statistic of `across`, is computed for all 16 slots when it is first asked: by the operations of
// prelude.hpp in their order, hence with their bits.
#pragma once
#include "kernels.hpp"
#include "shared/slot.hpp"

struct PageVecs {
  f32x16 at[kMaxDim];  // [dim][16 slots]
  int dim;
  // What has been asked since the page was read: bits of Asked, its answers [16 slots], and with whom the dot product
  // is.
  enum Asked { norm, norm1, highest, lowest, dot, kinds };
  mutable uint32_t asked;
  mutable f32x16 answer[kinds];
  mutable const Vec* other;

  template <class Read>
  SKV_FLAT void read(int head_dim, Read into) {
    dim = head_dim;
    asked = 0;
    into(at);
  }
  template <class Compute>
  SKV_FLAT float ask(Asked what, int slot, Compute compute) const {
    if (!(asked & 1u << what)) {
      compute(at, dim, &answer[what]);
      asked |= 1u << what;
    }
    return ((const float*)&answer[what])[slot];
  }
  SKV_FLAT float ask_dot(const Vec& with, int slot) const {
    if (other != &with) asked &= ~(1u << dot);
    other = &with;
    return ask(dot, slot, [&](const f32x16* at, int dim, f32x16* out) SKV_FLAT { page_dots(at, with.at, dim, out); });
  }
};

SKV_INLINE Vec scaled(const SlotVec& v, float factor) {
  Vec out;
  SKV_ELEMENTS(v.page->dim) out.at[i] = ((const float*)&v.page->at[i])[v.slot] * factor;
  return out;
}
SKV_FLAT inline SlotVec::operator Vec() const { return scaled(*this, 1.0f); }

// A slot's vector times a number. Most often it goes into a sum over the slots, and need not be made.
struct ScaledVec {
  SlotVec of;
  float factor;
  SKV_FLAT operator Vec() const { return scaled(of, factor); }
};

// A statistic of `across`: the same for all slots while it is asked for.
struct AcrossVec : Vec {
  float norm;
  SKV_FLAT void operator=(const Vec& vec) { Vec::operator=(vec); }
};

SKV_INLINE float skv_dot(const SlotVec& a, const AcrossVec& b, int) { return a.page->ask_dot(b, a.slot); }
SKV_INLINE float skv_dot(const AcrossVec& a, const SlotVec& b, int dim) { return skv_dot(b, a, dim); }
SKV_INLINE float skv_norm1(const SlotVec& a, int) { return a.page->ask(PageVecs::norm1, a.slot, page_norms1); }
SKV_INLINE float skv_norm(const SlotVec& a, int) { return a.page->ask(PageVecs::norm, a.slot, page_norms); }
SKV_INLINE float skv_highest(const SlotVec& a, int) {
  return a.page->ask(PageVecs::highest, a.slot, page_highest) + 0.0f;
}
SKV_INLINE float skv_lowest(const SlotVec& a, int) { return a.page->ask(PageVecs::lowest, a.slot, page_lowest) + 0.0f; }
SKV_INLINE float skv_cosine(const SlotVec& a, const AcrossVec& b, int dim) {
  return skv_dot(a, b, dim) / (skv_norm(a, dim) * b.norm);
}
SKV_INLINE float skv_cosine(const AcrossVec& a, const SlotVec& b, int dim) {
  return skv_dot(b, a, dim) / (a.norm * skv_norm(b, dim));
}
SKV_INLINE ScaledVec skv_scale(const SlotVec& a, float s, int) { return {a, s}; }
