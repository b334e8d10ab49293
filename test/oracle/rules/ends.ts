/** Rules that look at positions alone: everything, StreamingLLM, DuoAttention. */
import type { Rule } from '../forward.ts';
import { each, live } from './decision.ts';

export const none = (): Rule => ({});

/** First sinks and last tokens; positions as if the rest had never been. */
export function streaming({ budget, sinks }: { budget: number; sinks: number }): Rule {
  return {
    cachePositions: true,
    keep: (cache, { length, generated }) =>
      generated < 0 || live(cache) <= budget
        ? undefined
        : each(cache, (entries) => ({
            positions: entries
              .map((entry) => entry.pos)
              .filter((pos) => pos < sinks || pos >= length - (budget - sinks)),
            margin: new Map(),
          })),
  };
}

interface Duo {
  /** [layer][head], of the layers without a window */
  gates: number[][];
  full: number;
  sinks: number;
  recent: number;
}

/** Heads whose gate is above `full` keep everything, the others the first and the most recent. */
export function duo({ gates, full, sinks, recent }: Duo): Rule {
  return {
    keep: (cache, { length, generated }) =>
      generated < 0 || generated % 16 !== 0
        ? undefined
        : each(cache, (entries, layer, head) => {
            const all = entries.map(({ pos }) => pos);
            const stays = (pos: number) => gates[layer][head] > full || pos < sinks || pos >= length - recent;
            return { positions: all.filter(stays), margin: new Map() };
          }),
  };
}
