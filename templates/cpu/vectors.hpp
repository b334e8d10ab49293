// The vectors of a page's slots, keys or values, for a policy's expressions. What is asked of one slot's vector alone,
// or of it and a statistic of `across`, is computed for all 16 slots when it is first asked: by the operations of
// prelude.hpp in their order, hence with their bits.
#pragma once
#include "kernels.hpp"
#include "shared/slot.hpp"

constexpr int kPageTerms = 8;
constexpr int kVectorsAhead = 2;  // pages between the vectors that are read and those that are prefetched

struct PageVecs {
  const Kernels* kernels;  // of the page whose keys these are; null: they have been read into `at`, as values are
  const skv_shape* shape;
  const uint8_t *page, *ahead = nullptr;  // keys of the second are prefetched while those of the first are read
  int dim, pages_ahead = kVectorsAhead;
  // The vectors [dim][16 slots]: keys once an expression wants them for more than what is asked below.
  mutable bool known;
  mutable f32x16 at[kMaxDim];
  // What has been asked, bits, and the answers [16 slots]. A dot product has the bit of its statistic behind; those
  // with later ones are not remembered.
  static constexpr int kDots = 4, kAnswers = (int)Asked::dot + kDots;
  mutable uint32_t asked;
  mutable f32x16 answer[kAnswers];

  SKV_FLAT void keys_of(const skv_shape* of, const uint8_t* in, const uint8_t* next) {
    kernels = &kernels_of(of);
    shape = of;
    page = in;
    ahead = next;
    dim = of->head_dim;
    known = false;
    asked = 0;
  }
  template <class Read>
  SKV_FLAT void read(int head_dim, Read into) {
    kernels = nullptr;
    dim = head_dim;
    known = true;
    asked = 0;
    into(at);
  }
  SKV_FLAT const f32x16* all() const {
    if (!known) kernels->read_keys(shape, page, ahead, at);
    known = true;
    return at;
  }
  SKV_FLAT void ask(Asked what, const float* other, f32x16* out) const {
    if (kernels) return kernels->key_answer(shape, page, ahead, what, other, out);
    page_answer(at, dim, what, other, out);
  }
  // What it is in a sum of vectors, and how many such pages may be added at once: others are read into `at` too.
  SKV_FLAT const void* term() const { return kernels ? page : (const void*)at; }
  SKV_FLAT int terms() const { return kernels ? kPageTerms : 1; }
  SKV_FLAT void add(const PageTerm* terms, int pages, int slots, f32x16* sums) const {
    if (kernels) return kernels->add_keys(shape, terms, pages, slots, sums);
    add_pages(dim, terms, pages, slots, sums);
  }
};

// An answer about one slot; statistic: with which `what` is a dot product.
SKV_INLINE float ask(Asked what, const SlotVec& of, int statistic = 0, const float* other = nullptr) {
  const PageVecs& page = *of.page;
  const int bit = (int)what + statistic;
  if (!of.answered && !(page.asked & 1u << bit)) {
    page.ask(what, other, &page.answer[bit]);
    page.asked |= 1u << bit;
  }
  return ((const float*)&page.answer[bit])[of.slot];
}

SKV_INLINE Vec scaled(const SlotVec& v, float factor) {
  const f32x16* at = v.page->all();
  Vec out;
  SKV_ELEMENTS(v.page->dim) out.at[i] = ((const float*)&at[i])[v.slot] * factor;
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
  if constexpr (N >= PageVecs::kDots) return skv_dot((Vec)a, (const Vec&)b, dim);
  return ask(Asked::dot, a, N, b.at);
}
template <int N>
SKV_INLINE float skv_dot(const AcrossVec<N>& a, const SlotVec& b, int dim) {
  return skv_dot(b, a, dim);
}
SKV_INLINE float skv_norm1(const SlotVec& a, int) { return ask(Asked::norm1, a); }
SKV_INLINE float skv_norm(const SlotVec& a, int) { return ask(Asked::norm, a); }
SKV_INLINE float skv_highest(const SlotVec& a, int) { return ask(Asked::highest, a) + 0.0f; }
SKV_INLINE float skv_lowest(const SlotVec& a, int) { return ask(Asked::lowest, a) + 0.0f; }
template <int N>
SKV_INLINE float skv_norm(const AcrossVec<N>& a, int) {
  return a.norm;
}
template <int N>
SKV_INLINE float skv_cosine(const SlotVec& a, const AcrossVec<N>& b, int dim) {
  return skv_dot(a, b, dim) / (skv_norm(a, dim) * b.norm);
}
template <int N>
SKV_INLINE float skv_cosine(const AcrossVec<N>& a, const SlotVec& b, int dim) {
  return skv_dot(b, a, dim) / (a.norm * skv_norm(b, dim));
}
SKV_INLINE ScaledVec skv_scale(const SlotVec& a, float s, int) { return {a, s}; }
