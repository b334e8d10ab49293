// Attention of observed queries to a head's slots, handed to the policy's `next` some pages at a time.
//
//   probabilities of query rows [token][group], as attention left them -> attn [page][token][16 slots], or, where a
//   policy does not combine them, [page][token][group][16 slots]
//   It runs where attention has just ended: the queries' exponentials are still in the cache and their LSE is final, so
//   nothing is computed twice, and a slot sees its queries in order however a prompt was cut.
//   costs per observed token and slot one multiply-add a query head
#pragma once
#include "kernels.hpp"
#include "scratch.hpp"

// Attention of a token's query group to the slots of a page. multipliers [group][8], factor [group].
template <class KV, Group how>
SKV_INLINE f32x16 page_attn(const typename KV::Multiplier* multipliers, const float* factor, int group) {
  Sixteen total;
  for (int n = 0; n < kRegisters; n++) {
    const auto* m = multipliers + n * kRegister / 2;
    f32xN sum = KV::unpack(m) * splat<f32xN>(factor[0]);
    for (int g = 1; g < group; g++) {
      const f32xN p = KV::unpack(m + g * kPagePairs), f = splat<f32xN>(factor[g]);
      sum = how == Group::max ? larger(p * f, sum) : fma(p, f, sum);
    }
    total.reg[n] = how == Group::mean ? sum / splat<f32xN>((float)group) : sum;
  }
  return total.all;
}

// Pages [p0, p1) of one segment, for the row's tokens [t0, t1): attn [page][token][vote][16 slots]. Row 0 of the
// probabilities is of token `first`; tokens before a page see nothing of it.
template <class KV, Group how>
SKV_INLINE void pages_attn(const Head<KV>& h, int p0, int p1, int t0, int t1, const Probabilities<KV>& probabilities,
                           int first, f32x16* attn) {
  const int g = h.shape->group, pitch = g * kPagePairs, behind = *h.length - h.row->tokens;
  const int votes = votes_of(how, g), heads = g / votes;
  const float* factors = probabilities.factor(p0 / kSegmentPages, 0);
  const auto* page = probabilities.pairs(p0, (t0 - first) * g);
  for (int p = p0; p < p1; p++, page += probabilities.rows * kPagePairs, attn += (t1 - t0) * votes)
    for (int t = std::max(t0, p * SKV_PAGE - behind); t < t1; t++)
      for (int v = 0; v < votes; v++)
        attn[(t - t0) * votes + v] =
            page_attn<KV, how>(page + (t - t0) * pitch + v * kPagePairs, factors + (t - first) * g + v, heads);
}

constexpr int kRunRows = 4 * kTileRows;  // tokens and votes, page by page, that a policy is handed at once

// All slots of a head.
template <class KV, Group how>
void observe_head(const Head<KV>& h, int t0, int t1, const Probabilities<KV>& probabilities, int first,
                  const PolicyPasses& policy) {
  const int pages = pages_of(*h.length - h.row->tokens + t1), rows = (t1 - t0) * votes_of(how, h.shape->group);
  const int run = std::min(kRunRows / rows, kSegmentPages);
  f32x16 attn[kRunRows];
  for (int p = 0, end; p < pages; p = end) {
    end = std::min({p + run, p / kSegmentPages * kSegmentPages + kSegmentPages, pages});
    pages_attn<KV, how>(h, p, end, t0, t1, probabilities, first, attn);
    policy.observe(h, p, end, t0, t1, attn);
  }
}

template <class KV>
void observe(const Head<KV>& h, int t0, int t1, const Probabilities<KV>& probabilities, int first,
             const PolicyPasses& policy) {
  if (policy.group == Group::sum) return observe_head<KV, Group::sum>(h, t0, t1, probabilities, first, policy);
  if (policy.group == Group::mean) return observe_head<KV, Group::mean>(h, t0, t1, probabilities, first, policy);
  if (policy.group == Group::none) return observe_head<KV, Group::none>(h, t0, t1, probabilities, first, policy);
  observe_head<KV, Group::max>(h, t0, t1, probabilities, first, policy);
}
