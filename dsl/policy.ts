/**
 * `definePolicy` and the types of its fields. Data where the compiler decides (window, keep, when), pure functions where
 * the author does (accumulate, across, score). Every callback's types follow from the names the declaration introduces.
 */
import type { NumberParam, Param, TokensParam } from './params.ts';
import type { Above, Chunks, everything, PooledRule, PoolRule, Profile, PyramidRule, TopK, Trigger } from './rules.ts';
import type { NewSlot, Slot, Vec } from './slot.ts';

type Params = Readonly<Record<string, Param>>;
/** Names of a declaration that has none are none, not every string. */
type Known<P> = string extends keyof P ? never : keyof P;

/**
 * What a policy's functions see: the slot's fields, every state by its name, and the parameters.
 * @example
 * score: (slot) => slot.mass * slot.params.gain
 */
export type PolicySlot<P extends PropertyKey, S extends string> = Slot & { readonly [Name in S]: number } & {
  /**
   * This request's parameters by name, each in the unit it is declared in. Where a ratio stands in for the budget, the
   * budget's parameter is what is kept at that moment.
   * @example
   * score: (slot) => slot.mass * slot.params.gain
   */
  readonly params: { readonly [Name in P]: number };
};

/**
 * Statistics as another one reads them, by name. The compiler, not the editor, knows which there are, and which of them are
 * numbers and which vectors.
 * @example
 * across: { p: { softmax: (slot) => slot.mass }, place: { rank: (slot, across) => across.p } },
 * partitions: { size: 64 },
 * score: (slot, across) => -across.place
 */
export type Earlier = Readonly<Record<string, number & Vec>>;

/**
 * One statistic over the live slots of a head: a function of each slot, and how its values become one, or, of `softmax` and
 * `rank`, one of each slot's own among those of its partition.
 * @example
 * across: { level: { mean: (slot) => slot.mass } },
 * score: (slot, across) => slot.mass - across.level
 */
export type Statistic<T extends number | Vec, See, Count = number> =
  | {
      /** The values' mean, by element for vectors. */
      readonly mean: (slot: See) => T;
    }
  | {
      /** The values' sum, by element for vectors. */
      readonly sum: (slot: See) => T;
    }
  | {
      /** The largest value, by element for vectors; NaN is left out. Of no slots -Infinity. */
      readonly max: (slot: See) => T;
      /**
       * `'next'`: of the slots of the partition that follows a slot's own, for policies with `partitions`.
       * @default of all live slots of the head
       */
      readonly partition?: 'next';
    }
  | {
      /** The smallest value, by element for vectors; NaN is left out. Of no slots Infinity. */
      readonly min: (slot: See) => T;
      /**
       * `'next'`: of the slots of the partition that follows a slot's own, for policies with `partitions`.
       * @default of all live slots of the head
       */
      readonly partition?: 'next';
    }
  | {
      /**
       * A number of each slot's own: e to its value over the sum of these in its partition, 0 … 1. The function may read
       * statistics that are written above.
       */
      readonly softmax: (slot: See, across: Earlier) => T;
    }
  | {
      /**
       * A number of each slot's own: how many slots of its partition have a larger value, or an equal one and are newer. 0 is
       * the best; NaN is lowest. The function may read statistics that are written above.
       */
      readonly rank: (slot: See, across: Earlier) => T;
    }
  | {
      /**
       * The n-th largest value, so that `x >= across.name` holds for the n highest, and for those that equal the last: a whole
       * number from 0, or the name of a `tokens` parameter. Of fewer slots the least, of n = 0 infinity; NaN is lowest.
       */
      readonly nth: Count;
      /** What is compared: numbers. */
      readonly of: (slot: See) => T;
    };

/**
 * One named state: an f32 beside every slot.
 * @example
 * accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }
 */
export interface Accumulator<See> {
  /** Value of a new slot: any finite f32. */
  readonly init: number;
  /** The value after one more observed query, with `group: 'none'` one more head of it. All states of a slot are read as they were before it. */
  readonly next: (state: number, slot: See) => number;
}

/**
 * A state that forgets: a sum over the last observed queries, kept in eight buckets beside every slot.
 * @example
 * accumulate: { mass: { last: 400, sum: (slot) => slot.attn } }
 */
export interface History<See, Count = number> {
  /**
   * How many observed queries count: a whole number from 8, or the name of a `tokens` parameter that is never less. The
   * oldest eighth of them leaves at once, so that the sum is over 7/8 to all of so many.
   */
  readonly last: Count;
  /** What one observed query adds, with `group: 'none'` each of its heads. All states of a slot are read as they were before it. */
  readonly sum: (slot: See) => number;
}

/**
 * A number that is computed when a slot is appended, and stays: what would be the same at every compaction.
 * @example
 * accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn }, size: { once: (slot) => norm1(slot.value) } }
 */
export interface Once {
  /** The number, from what never changes of a slot. */
  readonly once: (slot: NewSlot) => number;
}

/**
 * Which queries' attention is seen: every one, generated tokens' (`'decode'`), or the prompt's last w.
 * @example
 * observe: [{ last: 'recent' }, 'decode']
 */
export type ObserveRule<N> =
  | 'every'
  | 'decode'
  | {
      /** How many of the prompt's last queries: a whole number from 1, or the name of a `tokens` or `fraction` parameter. */
      readonly last: N;
    };

/** Which slots are never evicted, whatever their score. */
export interface WindowRule<Size> {
  /**
   * The first positions of the sequence: whole slots from 0, or the name of a `tokens` or `fraction` parameter.
   * @default 0
   */
  readonly first?: Size;
  /**
   * The most recent positions: whole slots from 0, or the name of a `tokens` or `fraction` parameter. With a ratio they
   * take at most half of the budget.
   * @default 0
   */
  readonly last?: Size;
  /**
   * The whole prompt. A long one fills a budget that counts it: see `besides` of `topK`.
   * @default false
   */
  readonly prompt?: boolean;
  /**
   * Tokens of these classes: `'special'` (`<|im_end|>` …), `'punctuation'` alone.
   * @default []
   */
  readonly classes?: readonly ('special' | 'punctuation')[];
}

/** How a sequence is cut into partitions of consecutive positions. */
export interface PartitionRule<Count> {
  /**
   * Where the first one begins: a position, or the name of a `tokens` parameter. What is before is a partition of its own.
   * @default 0
   */
  readonly first?: Count;
  /** Positions of each: a whole number from 1, or the name of a `tokens` parameter that is never less. */
  readonly size: Count;
}

/**
 * The fields of a policy. P: the parameters, S: the states' names, A: the statistics' types. Declare `across` above
 * `score`. Size, Level and Count follow from P: names of parameters that count slots, of plain numbers, and of whole slots
 * (spelled out here, so that errors list the names).
 * @example
 * observe: 'every',
 * accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
 * score: (slot) => slot.mass,
 * keep: topK(512)
 */
export interface PolicySpec<
  P extends Params,
  S extends string,
  A extends Readonly<Record<string, number | Vec>>,
  Size = number | { [Name in keyof P]: P[Name] extends NumberParam ? never : Name }[keyof P],
  Level = number | { [Name in keyof P]: P[Name] extends NumberParam ? Name : never }[keyof P],
  Count = number | { [Name in keyof P]: P[Name] extends TokensParam ? Name : never }[keyof P],
> {
  /**
   * What flags and requests call the policy: lower-case letters, digits and hyphens, a letter first, at most 40.
   * @example
   * name: 'mine'
   */
  readonly name: string;
  /**
   * Values that a request may set within their ranges, without a rebuild: at most 16.
   * @default none
   * @example
   * params: { budget: tokens(512), recent: tokens(64) }
   */
  readonly params?: P;
  /**
   * Which queries' attention is seen: `'every'` one · `'decode'`, generated tokens' · `{ last: w }` of the prompt · a list
   * of these. What is not seen costs nothing.
   * @default absent: attention is not read
   * @example
   * observe: { last: 32 }
   */
  readonly observe?: ObserveRule<Size> | readonly ObserveRule<Size>[];
  /**
   * How the query heads of one KV head vote on `slot.attn`: by their mean, sum or maximum. `'none'`: they are not combined,
   * and `next` runs once for each of them, in order.
   * @default 'mean'
   * @example
   * group: 'max'
   */
  readonly group?: 'sum' | 'mean' | 'max' | 'none';
  /**
   * Named states, one f32 beside every slot, computed again after each observed query: at most 12, a history
   * (`{ last, sum }`) counting as eight. `{ once }` is computed when a slot is appended.
   * @default none
   * @example
   * accumulate: { mass: { init: 0, next: (mass, slot) => mass * 0.99 + slot.attn } }
   */
  readonly accumulate?: {
    readonly [Name in S]:
      | Accumulator<PolicySlot<Known<P>, NoInfer<S>>>
      | History<PolicySlot<Known<P>, NoInfer<S>>, Count>
      | Once;
  };
  /**
   * Named statistics over the live slots of a head, numbers or vectors, for `score`; written above it.
   * @default none
   * @example
   * across: { anchor: { mean: (slot) => slot.key } },
   * score: (slot, across) => -cosine(slot.key, across.anchor)
   */
  readonly across?: { readonly [Name in keyof A]: Statistic<A[Name], PolicySlot<Known<P>, NoInfer<S>>, Count> };
  /**
   * Partitions of consecutive positions, for statistics: `softmax` and `rank` are of a slot's own one, `max` and `min` may be
   * of the `'next'`.
   * @default none
   * @example
   * across: { place: { rank: (slot) => slot.mass } },
   * partitions: { size: 128 },
   * score: (slot, across) => -across.place
   */
  readonly partitions?: PartitionRule<Count>;
  /**
   * A slot's worth, any f32: the lowest leaves first, the older among equals, NaN before all.
   * @default the position: the oldest leaves first
   * @example
   * score: (slot) => slot.mass
   */
  readonly score?: (slot: PolicySlot<Known<P>, NoInfer<S>>, across: A) => number;
  /**
   * How scores of neighbouring candidates become one: `mean(k)` or `peak(k)`, k odd.
   * @default none
   * @example
   * pool: peak(7)
   */
  readonly pool?: PoolRule;
  /**
   * What the KV heads of a layer do together: `'own'`, each keeps a set of its own · `'shared'`, one set by the mean of
   * their scores · `pooled(alpha)` or `pooled({ guaranteed })`, budgets flow and lengths become ragged.
   * @default 'own'
   * @example
   * heads: 'shared'
   */
  readonly heads?: 'own' | 'shared' | PooledRule;
  /**
   * How the budget varies by layer: `'uniform'` · `pyramid(beta)` · a table of factors, 0 … 1,024, as many as the model
   * has layers. A mean of 1 keeps what the budget says.
   * @default 'uniform'
   * @example
   * layers: [1.5, 1, 0.5]
   */
  readonly layers?: 'uniform' | PyramidRule | readonly number[];
  /**
   * Which candidates stay: `topK(budget)`, the best · `chunks(n, budget)`, whole chunks · `above(threshold)` ·
   * `profile(reach, state, rules)`, by a rule that each head takes at the prompt's end · `everything`. Sizes are slots of each
   * KV head.
   * @example
   * keep: topK('budget')
   */
  readonly keep: TopK<Size> | Above<Level> | Chunks<Size> | Profile<Level, NoInfer<S>, Size> | typeof everything;
  /**
   * Which slots are never evicted. They count towards the budget, unless it is kept `{ besides: 'protected' }`.
   * @default none
   * @example
   * window: { first: 4, last: 'recent' }
   */
  readonly window?: WindowRule<Size>;
  /**
   * When to compact: `promptEnd` · `every(n)` · `over(slack)` · `promptChunk(n)` · several in a list, each kind once.
   * @default over(0): after every generated token that makes it too many
   * @example
   * when: [promptEnd, every(16)]
   */
  readonly when?: Trigger<Count> | readonly Trigger<Count>[];
  /**
   * Which positions attention sees: `'original'`, or `'cache'`, as if evicted tokens had never been. With `'cache'` and a
   * bounded cache a text may be longer than the model's context.
   * @default 'original'
   * @example
   * positions: 'cache'
   */
  readonly positions?: 'original' | 'cache';
  /**
   * The type of kept keys and values. A server's pages have one type, which all its policies must agree on.
   * @default the server's, --kv-cache-dtype
   * @example
   * store: 'f32'
   */
  readonly store?: 'bf16' | 'f32';
  /**
   * Where pages lie: in the `'device'`'s memory, or in the `'host'`'s, where its processors attend to them while a GPU does
   * the rest. All policies of a server must agree; a server on the CPU has both in one.
   * @default the server's, --place
   * @example
   * place: 'host'
   */
  readonly place?: 'device' | 'host';
}

/**
 * A policy: what is seen of attention, what it is worth, what stays. The compiler reads the object's text, so it is written
 * in place; its functions are ordinary JavaScript as well, the top rung of the ladder that checks the generated code.
 * @example
 * import { definePolicy, every, tokens, topK } from 'skv';
 *
 * export default definePolicy({
 *   name: 'heavy-hitters',
 *   params: { budget: tokens(512), recent: tokens(128) },
 *   observe: 'every',
 *   accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
 *   score: (slot) => slot.mass,
 *   window: { last: 'recent' },
 *   keep: topK('budget'),
 *   when: every(1),
 * });
 */
export function definePolicy<
  const P extends Params = Record<never, never>,
  S extends string = never,
  A extends Readonly<Record<string, number | Vec>> = Record<never, never>,
>(spec: PolicySpec<P, S, A>): PolicySpec<P, S, A> {
  return spec;
}
