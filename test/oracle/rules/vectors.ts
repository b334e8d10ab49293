/** Rules that look at keys and values: norms, directions, ranges within partitions. */
import type { Rule } from '../forward.ts';
import { best, each, live, mean, sum } from './decision.ts';

const length2 = (key: Float64Array) => Math.sqrt(key.reduce((total, v) => total + v * v, 0));

/** The smallest keys stay. */
export function knorm({ budget }: { budget: number }): Rule {
  return {
    keep: (cache, { generated }) =>
      generated < 0 || live(cache) <= budget
        ? undefined
        : each(cache, (entries) =>
            best(
              entries.map((entry) => ({ pos: entry.pos, score: -length2(entry.key) })),
              budget,
              [],
            ),
          ),
  };
}

/** Keys least like the mean direction stay; the prompt in blocks. */
export function keydiff({ budget, block }: { budget: number; block: number }): Rule {
  return {
    keep: (cache, { length, prompt, generated }) => {
      if (length < prompt ? length % block !== 0 : live(cache) <= budget && generated !== 0) return undefined;
      return each(cache, (entries) => {
        const dim = entries[0].key.length;
        const lengths = entries.map(({ key }) => length2(key));
        const anchor = Array.from({ length: dim }, (_, d) => mean(entries.map(({ key }, i) => key[d] / lengths[i])));
        const size = Math.sqrt(sum(anchor.map((v) => v * v)));
        const score = (key: Float64Array) =>
          -key.reduce((total, v, d) => total + v * anchor[d], 0) / (length2(key) * size);
        return best(
          entries.map((entry) => ({ pos: entry.pos, score: score(entry.key) })),
          budget,
          [],
        );
      });
    },
  };
}

/** The sample standard deviation of x scaled to the range [low, high] by element. */
function deviation(x: Float64Array, low: number[], high: number[]): number {
  const scaled = Array.from(x, (v, d) => (v - low[d]) / (high[d] - low[d]));
  const s = Math.sqrt(sum(scaled.map((v) => (v - mean(scaled)) ** 2)) / (scaled.length - 1));
  return Number.isFinite(s) ? s : 0;
}

function softmax(xs: number[]): number[] {
  const powers = xs.map((x) => Math.exp(x - Math.max(...xs)));
  return powers.map((power) => power / sum(powers));
}

/**
 * Partitions of `lag` positions behind the sinks; each but the last whole one is scored against the next, and as many of the best of each
 * stay as the budget has room for beside sinks and tail: by rank in the partition, among equals the newest.
 */
export function lagkv({ budget, lag, sinks }: { budget: number; lag: number; sinks: number }): Rule {
  return {
    keep: (cache, { length, generated }) => {
      if (generated < 0 || (generated > 0 && live(cache) <= budget + lag)) return undefined;
      const whole = Math.floor((length - sinks) / lag);
      return each(cache, (entries) => {
        const of = (pos: number) => Math.floor((pos - sinks) / lag);
        const members = (p: number) => entries.filter(({ pos }) => pos >= sinks && of(pos) === p);
        const tail = entries.filter(({ pos }) => pos >= sinks && of(pos) + 1 >= whole);
        const candidates = tail.map(({ pos }) => ({ pos, score: 1 }));
        const margins = new Map<number, number>();
        for (let p = 0; p + 1 < whole; p++) {
          const [own, next] = [members(p), members(p + 1)];
          const scored = (part: 'key' | 'value') => {
            const bound = (f: (...xs: number[]) => number) =>
              Array.from(entries[0][part], (_, d) => f(...next.map((entry) => entry[part][d])));
            const [low, high] = [bound(Math.min), bound(Math.max)];
            return softmax(own.map((entry) => deviation(entry[part], low, high)));
          };
          const [keys, values] = [scored('key'), scored('value')];
          const ranked = own
            .map(({ pos }, i) => ({ pos, x: keys[i] + values[i] }))
            .sort((a, b) => b.x - a.x || b.pos - a.pos);
          for (const [rank, { pos, x }] of ranked.entries()) {
            candidates.push({ pos, score: -rank });
            margins.set(pos, x);
          }
        }
        const kept = best(
          candidates,
          budget - Math.min(sinks, length),
          entries.map(({ pos }) => pos).filter((pos) => pos < sinks),
        );
        // ranks are whole: how near a slot is to the border is told by what it was ranked by
        for (let p = 0; p + 1 < whole; p++) {
          const xs = members(p).map(({ pos }) => ({ pos, x: margins.get(pos)!, stays: kept.positions.includes(pos) }));
          const [stay, leave] = [xs.filter((each) => each.stays), xs.filter((each) => !each.stays)];
          const border = (Math.min(...stay.map(({ x }) => x)) + Math.max(...leave.map(({ x }) => x))) / 2;
          for (const { pos, x } of xs) kept.margin.set(pos, Math.abs(x - border));
        }
        return kept;
      });
    },
  };
}
