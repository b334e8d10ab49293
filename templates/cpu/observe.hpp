// observe: `next`, what observed queries do to the states of a head's slots.
//
//   attn [page][token][16 slots], from observed.hpp    states [state][slot]
//   costs per observed token and slot what `next` says; states are read and written once a tile of tokens
#pragma once
#include "slot.hpp"

// `next` for the slots of page p, once for each of the row's tokens [t0, t1) that sees them. attn [token]
template <class P>
SKV_INLINE void observe_page(const AnyHead& h, int p, int t0, int t1, const f32x16* attn) {
  f32x16 now[P::states], next[P::states];
  for (int i = 0; i < P::states; i++) now[i] = *(f32x16*)h.state(p, P::first_state, i);
  Vec keys[SKV_PAGE], values[SKV_PAGE];
  if (P::next_reads_key) read_keys(h, p, keys);
  if (P::next_reads_value) read_values(h, p, values);
  const int before = *h.length - h.row->tokens, behind = p * SKV_PAGE - before;
  for (int t = t0 > behind ? t0 : behind; t < t1; t++) {  // earlier ones see nothing of it
    const int live = before + t + 1, visible = live - p * SKV_PAGE;
    const f32x16 now_attn = attn[t - t0];
#pragma GCC unroll 1  // or it is unrolled before it can be vectorised
    for (int s = 0; s < SKV_PAGE; s++) {
      const Slot slot = slot_at<P>(h, p, s, h.row->pos0 + t, live, ((float*)&now_attn)[s], &keys[s], &values[s]);
      float states[P::states], after[P::states];
      for (int i = 0; i < P::states; i++) states[i] = ((float*)&now[i])[s];
      P::next(slot, states, after);
      for (int i = 0; i < P::states; i++) ((float*)&next[i])[s] = after[i];
    }
    for (int i = 0; i < P::states; i++) now[i] = first_of(visible, next[i], now[i]);
  }
  for (int i = 0; i < P::states; i++) *(f32x16*)h.state(p, P::first_state, i) = now[i];
}

template <class P>
void observe(const AnyHead& h, int p0, int p1, int t0, int t1, const f32x16* attn) {
  for (int p = p0; p < p1; p++, attn += t1 - t0) {
    prefetch_lanes(h, p + kLanesAhead, P::lanes);
    observe_page<P>(h, p, t0, t1, attn);
  }
}
