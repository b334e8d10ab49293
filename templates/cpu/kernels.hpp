// The seam between the kernels and a policy. Attention, selection and what moves in pages are compiled once for a
// processor (kernels.cpp, kernels_bf16.cpp, kernels_f32.cpp); of a policy only what its expressions enter is compiled,
// and linked to them. They call each other for pages and heads at a time, never for a slot.
#pragma once
#include "head.hpp"
#include "shared/profile.hpp"
#include "shared/traits.hpp"

constexpr int kTileRows = 48;  // most query rows (tokens x group) of a tile, and of what is observed at once

// One head's slots while it is decided. Arrays of slots have room for whole pages.
struct Selection {
  int live, candidates;  // slots, and those that are not protected
  float* score;          // [live]
  uint64_t* rank;        // [live]
  uint8_t* stays;        // [live] 1: protected or chosen
  int* candidate;        // [candidates] slots that compete, in slot order
  uint64_t* order;       // [candidates] scratch: ranks to be partitioned
  float* extra;          // [live] scratch
  uint32_t* ordered;     // [ranked][live] scratch of statistics
  float* placed;         // [places][live] scratch of statistics
};

// A policy as the kernels see it.
struct PolicyPasses {
  int lanes, shift_lane, class_lane;  // of a page; 0: no such lane
  int states, first_state;            // the last `states` lanes
  float init[SKV_MAX_LANES];          // [states] of a slot that nothing has observed
  bool observes, replaces, ordered;
  Group group;
  Heads heads;
  Keep keep;
  int chunk;
  double alpha;
  bool guaranteed;                // what alpha is of pooled heads' budgets
  int ranked, places;             // statistics of the kind nth; those that are a number of each slot
  int table_layers, table_heads;  // of its tables; 0: of any model
  // What slots [slot0, slot1) of page p, just stored, have from now on; null: no more than `init`.
  void (*begin)(const AnyHead&, int p, int slot0, int slot1);
  // `next` for the slots of pages [p0, p1), once for each of the row's tokens [t0, t1) that sees them.
  // attn [page][token][vote][16 slots]: a query group has one vote, or one each head where they are not combined
  void (*observe)(const AnyHead&, int p0, int p1, int t0, int t1, const f32x16* attn);
  // Scores, pooled if the policy says so, protected slots and candidates of a head; how many candidates. By value: what
  // has an address elsewhere stays in memory here.
  int (*score)(const AnyHead&, Selection);
  // The lowest-ranked candidate of KV heads [head0, head1), which decide together, leaves.
  void (*replace)(const skv_step*, const skv_row*, int layer, int head0, int head1);
  float (*threshold)(const float* params);
  // Of a profile: rules beside everything, and the state that they are judged by.
  int rules, mass_state;
  Rule (*rule)(int i, const float* params, int length);
};

// What expressions ask of the vectors of a page's slots (lanes.hpp). dot: with another vector.
enum class Asked { norm, norm1, highest, lowest, dot };

// A page in a sum of vectors.
struct PageTerm {
  const void* vectors;  // the page, if it is keys that are added, or [dim][16 slots]
  const void* ahead;    // if it is keys: a page whose own are prefetched meanwhile
  f32x16 factor;        // [16 slots]
};

// What is done to pages of one type of keys and values.
struct Kernels {
  int32_t (*append)(const skv_step*, int32_t layer, const skv_exec*, const PolicyPasses&);
  int32_t (*attend)(const skv_step*, int32_t layer, const skv_exec*, const PolicyPasses&);
  // Keys of all slots of a page, values of slots [slot0, slot1) of it at least, out [dim][16 slots]. Keys of the page
  // `ahead` are prefetched, here and below.
  void (*read_keys)(const skv_shape*, const uint8_t* page, const uint8_t* ahead, f32x16* out);
  void (*read_values)(const skv_shape*, const uint8_t* page, int slot0, int slot1, f32x16* out);
  // page_answer and add_pages of keys as they lie in pages: nothing is written but the result. They prefetch a row for
  // each that they read: all at once would hold up the loads behind them.
  void (*key_answer)(const skv_shape*, const uint8_t* page, const uint8_t* ahead, Asked, const float* other,
                     f32x16* out);
  void (*add_keys)(const skv_shape*, const PageTerm*, int pages, int slots, f32x16* sums);
  // Copies a slot over another: key, value and lanes.
  void (*move_slot)(const AnyHead&, int lanes, int from, int to);
  // Slots that stay take the places of those that leave, of which `hole` is the first: all of [hole, live) in order, or
  // those from `end` on alone, where the head will end.
  void (*move_down)(const AnyHead&, int lanes, int hole, int live, const uint8_t* stays);
  void (*fill_holes)(const AnyHead&, int lanes, int hole, int end, const uint8_t* stays);
};
extern const Kernels bf16_kernels, f32_kernels;

SKV_INLINE const Kernels& kernels_of(const skv_shape* s) { return s->kv_type == SKV_BF16 ? bf16_kernels : f32_kernels; }

// Whether a head has one slot more than its budget.
SKV_INLINE bool one_over(const AnyHead& h) {
  return *h.length == h.step->budgets[(int64_t)h.row->seq * h.shape->layers + h.layer] + 1;
}

// The functions of skv_policy that need nothing of a policy but this.
int32_t accepts(const skv_shape*, const PolicyPasses&);
int64_t scratch_bytes(const skv_shape*, const PolicyPasses&);
int64_t step_floats(const skv_shape*, const PolicyPasses&);
int32_t append(const skv_step*, int32_t layer, const skv_exec*, const PolicyPasses&);
int32_t attend(const skv_step*, int32_t layer, const skv_exec*, const PolicyPasses&);
int32_t compact(const skv_step*, const skv_exec*, const PolicyPasses&);

// Of the vectors of a page's slots, at [dim][16 slots], what is asked, out [16 slots]. sums [dim][16 slots] += the
// vectors of pages, each times its factor; the last page has `slots` slots.
void page_answer(const f32x16* at, int dim, Asked, const float* other, f32x16* out);
void add_pages(int dim, const PageTerm*, int pages, int slots, f32x16* sums);
// The trees of sums [dim][16], out [dim].
void trees_of(const f32x16* sums, int dim, float* out);

// Of numbers of slots. The n-th largest of numbers [live] as skv_ordered has them, which are reordered.
float nth_of(uint32_t* ordered, int live, float n);
// Softmax of x over slots [from, end), in place; the sum is a statistic's, other slots absent.
void softmax_of(float* x, int from, int end);
// How many of slots [from, end) come before each: larger, or equal and newer. x [slot], order [end - from] is scratch.
void ranks_of(float* x, int from, int end, uint64_t* order);

constexpr int kLanesAhead = 8;  // pages between the lanes that are read and those that are prefetched

// Prefetches a page's lanes, those whose bits are in `wanted`, for a walk that reads little else.
SKV_INLINE void prefetch_lanes(const AnyHead& h, int p, int lanes, uint32_t wanted = ~0u) {
  if (p * SKV_PAGE >= *h.length) return;
  for (int i = 0; i < lanes; i++)
    if (wanted >> i & 1) __builtin_prefetch(h.lane(p, i));
}
