/** What the rules decide with: the best of a head's slots, what a window protects, and how many there are. */
import type { Cache, Entry, Kept } from '../forward.ts';

export const sum = (xs: number[]) => xs.reduce((a, b) => a + b, 0);
export const mean = (xs: number[]) => sum(xs) / xs.length;
export const byPosition = (a: number, b: number) => a - b;

/** The `count` best of `candidates` (ties: newer first) and all of `always`; the margin is the distance to the border. */
export function best(candidates: { pos: number; score: number }[], count: number, always: number[]) {
  const ranked = [...candidates].sort((a, b) => b.score - a.score || b.pos - a.pos);
  const kept = ranked.slice(0, Math.max(0, count));
  const border =
    kept.length && kept.length < ranked.length
      ? (kept[kept.length - 1].score + ranked[kept.length].score) / 2
      : undefined;
  const margin = new Map(
    ranked.map(({ pos, score }) => [pos, border === undefined ? Infinity : Math.abs(score - border)]),
  );
  return { positions: [...kept.map((entry) => entry.pos), ...always].sort(byPosition), margin };
}

export const split = (entries: Entry[], recent: number, length: number, sinks = 0) => ({
  old: entries.filter((entry) => entry.pos < length - recent && entry.pos >= sinks),
  always: entries.filter((entry) => entry.pos >= length - recent || entry.pos < sinks).map((entry) => entry.pos),
});

/** One decision per layer and head. */
export const each = (
  cache: Cache,
  decide: (entries: Entry[], layer: number, head: number) => Kept[number][number],
): Kept => cache.map((heads, layer) => heads.map((entries, head) => decide(entries, layer, head)));

export const live = (cache: Cache) => Math.max(...cache.map((heads) => mean(heads.map((entries) => entries.length))));
