/** What a policy's functions may read. Reading a field is what makes the compiler produce it. */

declare const vector: unique symbol;

/**
 * A vector of head_dim numbers: a key or a value. `dot`, `norm` and `cosine` make a number of vectors; `scale`, `add`, `sub`,
 * `mul` and `div` make another vector. The operators `+ - * /` are for numbers alone.
 * @example
 * score: (slot) => -norm(slot.key)
 */
export interface Vec {
  readonly [vector]: 'head_dim numbers';
}

/**
 * What never changes of a slot: what a number that is computed once may read.
 * @example
 * accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn }, size: { once: (slot) => norm1(slot.value) } }
 */
export type NewSlot = Pick<
  Slot,
  'pos' | 'layer' | 'layers' | 'head' | 'heads' | 'key' | 'value' | 'special' | 'punctuation'
>;

/**
 * One cached token of one layer and KV head, as a query sees it. Numbers are IEEE f32.
 * @example
 * score: (slot) => (slot.pos < 4 ? slot.mass + 1 : slot.mass) / slot.seen
 */
export interface Slot {
  /**
   * Softmax probability that the observed query gives this slot, reduced over the group's query heads by `group`:
   * 0 … 1, with `group: 'sum'` up to the number of query heads, with `'none'` one head's. Only in `next`; a score reads a state that accumulates it.
   * @example
   * accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } }
   */
  readonly attn: number;
  /**
   * Logical position of the token in the sequence: whole tokens, 0 … length − 1. Eviction changes nobody's position.
   * @example
   * score: (slot) => slot.pos
   */
  readonly pos: number;
  /**
   * Position of the query minus `pos`, in tokens, from 0. In `score` the query is the sequence's newest token.
   * @example
   * score: (slot) => slot.mass * pow(0.98, slot.age)
   */
  readonly age: number;
  /**
   * Observed queries that could see the slot so far, this one included: a whole number from 0.
   * @example
   * score: (slot) => slot.mass / max(slot.seen, 1)
   */
  readonly seen: number;
  /**
   * Live slots of this head before the compaction, in `next` those that the query sees: a whole number from 1.
   * @example
   * score: (slot) => slot.mass * slot.live
   */
  readonly live: number;
  /**
   * Logical length of the sequence, in tokens, those evicted included: from 1.
   * @example
   * score: (slot) => slot.pos / slot.length
   */
  readonly length: number;
  /**
   * The slot's layer: 0 … layers − 1.
   * @example
   * score: (slot) => (slot.layer < 2 ? slot.pos : slot.mass)
   */
  readonly layer: number;
  /**
   * How many layers the model has: from 1.
   * @example
   * score: (slot) => slot.mass * (slot.layer / slot.layers)
   */
  readonly layers: number;
  /**
   * The slot's KV head in its layer: 0 … heads − 1.
   * @example
   * score: (slot) => (slot.head === 0 ? slot.pos : slot.mass)
   */
  readonly head: number;
  /**
   * How many KV heads a layer has: from 1.
   * @example
   * score: (slot) => slot.mass + slot.head / slot.heads
   */
  readonly heads: number;
  /**
   * A random number, above 0 and below 1, drawn for each slot anew at each query (a score's is the newest token): a hash of the
   * request's `seed`, layer, head and both positions. Reading it twice gives the same number, and so does every target, batch
   * and cut of a prompt.
   * @example
   * score: (slot) => log(slot.mass) - log(-log(slot.random))
   */
  readonly random: number;
  /**
   * The token's key after RoPE at its logical position, a vector of head_dim numbers.
   * @example
   * score: (slot) => -norm(slot.key)
   */
  readonly key: Vec;
  /**
   * The token's value, a vector of head_dim numbers.
   * @example
   * score: (slot) => slot.mass * norm(slot.value)
   */
  readonly value: Vec;
  /**
   * Whether the token is special (`<|im_end|>` …).
   * @example
   * score: (slot) => (slot.special ? slot.mass * 2 : slot.mass)
   */
  readonly special: boolean;
  /**
   * Whether the token's text is punctuation alone.
   * @example
   * score: (slot) => (slot.punctuation ? slot.mass + 0.1 : slot.mass)
   */
  readonly punctuation: boolean;
}
