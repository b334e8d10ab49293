// The vectors of a page's slots, keys or values, for a policy's expressions. What is asked of one slot's vector alone,
// or of it and a statistic of `across`, is computed for all 16 slots when it is first asked: by the operations of
// prelude.hpp in their order, hence with their bits.
#pragma once
#include "kernels.hpp"
#include "shared/slot.hpp"

struct PageVecs {
  f32x16 at[kMaxDim];  // [dim][16 slots]
  int dim;
  // What has been asked since the page was read, bits of Asked, and the answers [16 slots]. dots: with the first
  // statistics of a policy, others are not remembered.
  enum Asked { norm, norm1, highest, lowest, dot, dots = 4, kinds = dot + dots };
  mutable uint32_t asked;
  mutable f32x16 answer[kinds];

  template <class Read>
  SKV_FLAT void read(int head_dim, Read into) {
    dim = head_dim;
    asked = 0;
    into(at);
  }
};

// compute(at, dim, out): the answers of all slots.
template <class Compute>
SKV_INLINE float ask(int what, const SlotVec& of, Compute compute) {
  const PageVecs& page = *of.page;
  if (!of.answered && !(page.asked & 1u << what)) {
    compute(page.at, page.dim, &page.answer[what]);
    page.asked |= 1u << what;
  }
  return ((const float*)&page.answer[what])[of.slot];
}

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

// Statistic number N of `across`, of a whole head: the same for all slots.
template <int N>
struct AcrossVec : Vec {
  float norm;
};

template <int N>
SKV_INLINE float skv_dot(const SlotVec& a, const AcrossVec<N>& b, int dim) {
  if constexpr (N >= PageVecs::dots) return skv_dot((Vec)a, (const Vec&)b, dim);
  return ask(PageVecs::dot + N, a,
             [&](const f32x16* at, int dim, f32x16* out) SKV_FLAT { page_dots(at, b.at, dim, out); });
}
template <int N>
SKV_INLINE float skv_dot(const AcrossVec<N>& a, const SlotVec& b, int dim) {
  return skv_dot(b, a, dim);
}
SKV_INLINE float skv_norm1(const SlotVec& a, int) { return ask(PageVecs::norm1, a, page_norms1); }
SKV_INLINE float skv_norm(const SlotVec& a, int) { return ask(PageVecs::norm, a, page_norms); }
SKV_INLINE float skv_highest(const SlotVec& a, int) { return ask(PageVecs::highest, a, page_highest) + 0.0f; }
SKV_INLINE float skv_lowest(const SlotVec& a, int) { return ask(PageVecs::lowest, a, page_lowest) + 0.0f; }
template <int N>
SKV_INLINE float skv_cosine(const SlotVec& a, const AcrossVec<N>& b, int dim) {
  return skv_dot(a, b, dim) / (skv_norm(a, dim) * b.norm);
}
template <int N>
SKV_INLINE float skv_cosine(const AcrossVec<N>& a, const SlotVec& b, int dim) {
  return skv_dot(b, a, dim) / (a.norm * skv_norm(b, dim));
}
SKV_INLINE ScaledVec skv_scale(const SlotVec& a, float s, int) { return {a, s}; }
