// observe: `next`, what observed queries do to the states of a head's slots.
//
//   attn [page][token][vote][16 slots], from observed.hpp    states [state][slot]
//   costs per observed token and slot what `next` says; states are read and written once a tile of tokens
#pragma once
#include "slot.hpp"

// What a query and a vote do to the slots of a page, of which `visible` are seen: states [state][16 slots]. slot_of(s)
template <class P, class SlotOf>
SKV_INLINE void observe_slots(float (*now)[SKV_PAGE], int visible, SlotOf slot_of) {
#pragma GCC unroll 1  // or it is unrolled before it can be vectorised
  for (int s = 0; s < SKV_PAGE; s++) {
    float states[P::states], after[P::states];
    for (int i = 0; i < P::states; i++) states[i] = now[i][s];
    P::next(slot_of(s), states, after);
    for (int i = 0; i < P::states; i++) now[i][s] = s < visible ? after[i] : states[i];
  }
}

// The same of states that do not read each other, one by one from i on: those whose bits are in `changed`.
template <class P, int i = 0, class SlotOf>
SKV_INLINE void observe_changes(float (*now)[SKV_PAGE], uint32_t changed, int visible, SlotOf slot_of) {
  if (changed >> i & 1) {
    if (!P::changes(i, slot_of(0))) __builtin_unreachable();  // so that `next` need not ask again
#pragma GCC unroll 1
    for (int s = 0; s < SKV_PAGE; s++) {
      float states[P::states] = {}, after[P::states];
      states[i] = now[i][s];
      P::next(slot_of(s), states, after);
      now[i][s] = s < visible ? after[i] : states[i];
    }
  }
  if constexpr (i + 1 < P::states) observe_changes<P, i + 1>(now, changed, visible, slot_of);
}

// A slot for vote v of token t.
template <class P>
SKV_INLINE Slot slot_of_vote(const AnyHead& h, int p, int s, int t, int v, float attn, const PageVecs& keys,
                             const PageVecs& values) {
  const int live = *h.length - h.row->tokens + t + 1;
  Slot slot = slot_at<P>(h, p, s, h.row->pos0 + t, live, attn, keys, values);
  slot.voter = (float)v;
  return slot;
}

// The states that a vote changes, bits.
template <class P, size_t... state>
SKV_INLINE uint32_t changed_by(const Slot& slot, std::index_sequence<state...>) {
  return (((uint32_t)P::changes(state, slot) << state) | ...);
}

// The states that votes of tokens [t0, t1) change, bits, the same for all slots: of each, changed [token][vote], and of
// any.
template <class P>
SKV_INLINE uint32_t changed_states(const AnyHead& h, int p, int t0, int t1, uint32_t* changed) {
  const int votes = votes_of(P::group, h.shape->group);
  PageVecs none;  // nobody asks
  uint32_t any = 0;
  for (int t = t0; t < t1; t++)
    for (int v = 0; v < votes; v++, changed++) {
      const Slot slot = slot_of_vote<P>(h, p, 0, t, v, 0, none, none);
      *changed = changed_by<P>(slot, std::make_index_sequence<P::states>());
      any |= *changed;
    }
  return any;
}

// `next` for the slots of page p, once for each vote of the row's tokens [t0, t1) that see them. attn [token][vote];
// changed and any as above: other states are neither read nor written.
template <class P>
SKV_INLINE void observe_page(const AnyHead& h, int p, int t0, int t1, const f32x16* attn, const uint32_t* changed,
                             uint32_t any) {
  alignas(64) float now[P::states][SKV_PAGE];
  for (int i = 0; i < P::states; i++)
    if (any >> i & 1) memcpy(now[i], h.state(p, P::first_state, i), sizeof now[i]);
  PageVecs keys, values;
  if (P::next_reads_key) read_keys(h, p, &keys);
  if (P::next_reads_value) read_values(h, p, 0, SKV_PAGE, &values);
  const int votes = votes_of(P::group, h.shape->group);
  const int before = *h.length - h.row->tokens, behind = p * SKV_PAGE - before;
  for (int t = t0 > behind ? t0 : behind; t < t1; t++) {  // earlier ones see nothing of it
    const int visible = before + t + 1 - p * SKV_PAGE;
    for (int v = 0; v < votes; v++) {
      const int vote = (t - t0) * votes + v;
      const auto* now_attn = (const float*)(attn + vote);
      auto slot_of = [&](int s) SKV_FLAT { return slot_of_vote<P>(h, p, s, t, v, now_attn[s], keys, values); };
      if constexpr (P::guarded)
        observe_changes<P>(now, changed[vote], visible, slot_of);
      else
        observe_slots<P>(now, visible, slot_of);
    }
  }
  for (int i = 0; i < P::states; i++)
    if (any >> i & 1) memcpy(h.state(p, P::first_state, i), now[i], sizeof now[i]);
}

// What slots [slot0, slot1) of page p have from when they are appended: of keys and values as the page has them.
template <class P>
void begin(const AnyHead& h, int p, int slot0, int slot1) {
  PageVecs keys, values;
  visit_slots<P>(h, p, slot0, slot1, P::begin_reads_key, P::begin_reads_value, &keys, &values,
                 [&](int s, const Slot& slot, float* states) SKV_FLAT {
                   P::begin(slot, states);
                   for (int i = 0; i < P::states; i++) h.state(p, P::first_state, i)[s] = states[i];
                 });
}

template <class P>
void observe(const AnyHead& h, int p0, int p1, int t0, int t1, const f32x16* attn) {
  uint32_t changed[kTileRows], any = ~0u;
  if constexpr (P::guarded) any = changed_states<P>(h, p0, t0, t1, changed);
  const uint32_t wanted = any << P::first_state | ((1u << P::first_state) - 1);
  if (p0 == 0)
    for (int p = 0; p < kLanesAhead; p++) prefetch_lanes(h, p, P::lanes, wanted);
  for (int p = p0; p < p1; p++, attn += (t1 - t0) * votes_of(P::group, h.shape->group)) {
    prefetch_lanes(h, p + kLanesAhead, P::lanes, wanted);
    observe_page<P>(h, p, t0, t1, attn, changed, any);
  }
}
