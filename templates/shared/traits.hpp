// What a policy's traits choose from; the names are the language's.
#pragma once

enum class Group { sum, mean, max, none };  // of a query group's probabilities; none: `next` runs for each
enum class Pool { none, mean, max };        // of neighbouring candidates' scores
enum class Heads { own, shared, pooled };   // one set a head; one for the layer; budgets flow between heads
// by rank; by a threshold; whole chunks of positions; by a rule of each head's own
enum class Keep { all, topK, above, chunks, profile };
// Of `across`: over the live slots of a head, or max and min over those of the next partition; softmax and rank are a
// number of each slot, among those of its own.
enum class Reduce { mean, sum, max, min, nth, softmax, rank };

// How often `next` runs for one query.
SKV_BOTH constexpr int votes_of(Group how, int group) { return how == Group::none ? group : 1; }
