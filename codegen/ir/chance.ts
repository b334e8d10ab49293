/**
 * slot.random: a hash of the request's seed, layer, KV head, the query's position and the slot's, on the host.
 * `templates/shared/slot.hpp` has the same. It is no stream of draws: what a slot gets depends on nothing that happened
 * before, so chunks, batches and preemption change no bit of it.
 */

/** Whose number it is. */
interface Draw {
  readonly layer: number;
  readonly head: number;
  /** position of the query; of a score, of the sequence's newest token */
  readonly query: number;
  readonly pos: number;
}

/** All 32 bits of a word depend on all of it: shifts and products whose bias was searched to be small. */
function mixed(word: number): number {
  let h = word >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** An odd multiple of 2^-24: above 0, below 1, exact in f32. `seed`: its low and high 32 bits. */
export function chance(seed: readonly [number, number], { layer, head, query, pos }: Draw): number {
  const words = [seed[0], seed[1], layer, head, query, mixed(pos)];
  const hash = words.reduce((h, word) => mixed(h + word), 0x9e3779b9);
  return (2 * (hash >>> 9) + 1) / 2 ** 24;
}
