// Profiles: at its prompt's end a head takes the first of several rules that keeps enough of a state, and keeps that
// rule. A policy says how many `rules` there are beside everything, rule(i), which state is the `mass`, and as its
// threshold the part of the mass that a rule must reach.
#pragma once
#include "abi.h"
#include "shared/scalar.hpp"

// What stays besides the window: token classes, the most recent positions, and of the other slots the `top` best.
struct Rule {
  int32_t classes;
  int top, last;
};

// A part of a sequence as slots, one at least. In double, which holds the product.
SKV_INLINE int slots_of(float fraction, int length) {
  const int slots = (int)floor((double)fraction * length + 0.5);
  return slots > 1 ? slots : 1;
}

// Whether this row's compaction is the one that chooses.
SKV_INLINE bool chooses(const skv_row& row) { return row.pos0 + row.tokens == row.prompt; }

// Whether a rule keeps a slot whatever its score. length: logical.
SKV_INLINE bool spares(const Rule& rule, int length, int32_t pos, int32_t classes) {
  return (classes & rule.classes) != 0 || pos >= length - rule.last;
}

// Whether a rule may lose so much of the mass. What is lost is compared, not what is kept: it is 0 where nothing
// leaves, however sums are rounded, and never more than all. A part of 1 is everything, though what leaves had none of
// it.
SKV_INLINE bool reaches(float reach, float lost, float all) { return reach < 1.0f && lost <= (1.0f - reach) * all; }
