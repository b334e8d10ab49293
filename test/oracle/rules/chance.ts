/** Rules that draw: RandomAttn, VASE. */
import type { Entry, Rule } from '../forward.ts';
import { best, each, live, mean, split, sum } from './decision.ts';

/** The word that follows from a word, in arithmetic of whole numbers without a bound: shifts and products modulo 2^32. */
function scrambled(word: bigint): bigint {
  let h = word;
  for (const [shift, factor] of [
    [16n, 0x7feb352dn],
    [15n, 0x846ca68bn],
  ])
    h = ((h ^ (h >> shift)) * factor) & 0xffffffffn;
  return h ^ (h >> 16n);
}

/** slot.random as docs/language.md defines it. */
function drawn(seed: number, layer: number, head: number, query: number, pos: number): number {
  let h = 0x9e3779b9n;
  for (const word of [BigInt(seed), 0n, BigInt(layer), BigInt(head), BigInt(query), scrambled(BigInt(pos))])
    h = scrambled((h + word) & 0xffffffffn);
  return Number(2n * (h >> 9n) + 1n) / 2 ** 24;
}

/** Where random numbers come from; `layer0`: the model's layers with a window, which come first. */
interface Chance {
  seed: number;
  layer0: number;
}

/** The prompt, and of what is generated a uniform sample in each head; drawn once `every` more have come. */
export function randomattn({ budget, every, seed, layer0 }: { budget: number; every: number } & Chance): Rule {
  return {
    keep: (cache, { length, prompt, generated }) =>
      generated < 0 || live(cache) <= prompt + budget + every
        ? undefined
        : each(cache, (entries, layer, head) =>
            best(
              entries
                .filter(({ pos }) => pos >= prompt)
                .map(({ pos }) => ({ pos, score: drawn(seed, layer0 + layer, head, length - 1, pos) })),
              budget,
              Array.from({ length: prompt }, (_, pos) => pos),
            ),
          ),
  };
}

/** The old slots whose values range widest stay, sinks first; of the others a sample weighted by the last queries' attention. */
export function vase(spec: { budget: number; recent: number; large: number; sinks: number } & Chance): Rule {
  const { budget, recent, large, sinks, seed, layer0 } = spec;
  const range = ({ pos, value }: Entry) => (pos < sinks ? Infinity : Math.max(...value) - Math.min(...value));
  return {
    observe: (entries, p, { pos, prompt }) => {
      if (pos < prompt - recent) return;
      entries.forEach((entry, j) => (entry.seen ??= []).push(mean(p[j])));
    },
    keep: (cache, { length, generated }) =>
      generated < 0 || live(cache) <= budget + recent
        ? undefined
        : each(cache, (entries, layer, head) => {
            const { old, always } = split(entries, recent, length);
            const byRange = [...old].sort((a, b) => range(b) - range(a));
            const [widest, others] = [byRange.slice(0, large), byRange.slice(large)];
            const gumbel = (pos: number) => -Math.log(-Math.log(drawn(seed, layer0 + layer, head, length - 1, pos)));
            const sampled = best(
              others.map(({ pos, seen }) => ({ pos, score: Math.log(sum(seen!.slice(-recent))) + gumbel(pos) })),
              budget - always.length - widest.length,
              [...always, ...widest.map(({ pos }) => pos)],
            );
            return sampled;
          }),
  };
}
