/** Rules that add up what every query gave a slot: H2O, VATP, A2SF, TOVA, Scissorhands. */
import type { Entry, Rule } from '../forward.ts';
import { best, each, live, mean, split, sum } from './decision.ts';
import { type Progression, capacityOf } from './progression.ts';

/** Sum over the query heads of a KV head, over every query so far; budget - recent heavy hitters and the recent ones. */
export function h2o({ budget, recent }: { budget: number; recent: number }): Rule {
  return {
    observe: (entries, p) => entries.forEach((entry, j) => (entry.mass += sum(p[j]))),
    keep: (cache, { length, generated }) =>
      generated < 0
        ? undefined
        : each(cache, (entries) => {
            const { old, always } = split(entries, recent, length);
            return best(
              old.map((entry) => ({ pos: entry.pos, score: entry.mass })),
              budget - always.length,
              always,
            );
          }),
  };
}

/** H2O's mass times the sum of the value's elements without their signs; the first tokens stay too. */
export function vatp({ budget, recent, sinks }: { budget: number; recent: number; sinks: number }): Rule {
  return {
    observe: h2o({ budget, recent }).observe,
    keep: (cache, { length, generated }) =>
      generated < 0
        ? undefined
        : each(cache, (entries) => {
            const { old, always } = split(entries, recent, length, sinks);
            const size = (value: Float64Array) => value.reduce((total, v) => total + Math.abs(v), 0);
            return best(
              old.map(({ pos, mass, value }) => ({ pos, score: mass * size(value) })),
              budget - always.length,
              always,
            );
          }),
  };
}

/** Sum over every query so far of its probability, the older the less: forget ** (how many queries ago). */
export function a2sf({ budget, forget }: { budget: number; forget: number }): Rule {
  return {
    observe: (entries, p) => entries.forEach((entry, j) => (entry.seen ??= []).push(sum(p[j]))),
    keep: (cache, { generated }) =>
      generated < 0
        ? undefined
        : each(cache, (entries) =>
            best(
              entries.map(({ pos, seen }) => ({
                pos,
                score: sum(seen!.map((p, i) => p * forget ** (seen!.length - 1 - i))),
              })),
              budget,
              [],
            ),
          ),
  };
}

/** The last query's probability, averaged over all heads of the layer; one set for the layer. */
export function tova({ budget }: { budget: number }): Rule {
  return {
    observe: (entries, p) => entries.forEach((entry, j) => (entry.mass = mean(p[j]))),
    keep: (cache, { generated }) =>
      generated < 0 || live(cache) <= budget
        ? undefined
        : cache.map((heads) => {
            const scores = heads[0].map((entry, j) => ({
              pos: entry.pos,
              score: mean(heads.map((entries) => entries[j].mass)),
            }));
            const chosen = best(scores, budget, []);
            return heads.map(() => chosen);
          }),
  };
}

interface Scissors extends Progression {
  drop: number;
  history: number;
}

/** How many of the last queries, by eighths of `history`, gave a slot less than 1 / (slots they saw); a drop at once. */
export function scissorhands(rule: Scissors): Rule {
  const { drop, history, window } = rule;
  const eighth = (query: number) => Math.floor((8 * query) / history);
  return {
    observe: (entries, p) =>
      entries.forEach((entry, j) => (entry.seen ??= []).push(sum(p[j].map((x) => (x < 1 / entries.length ? 1 : 0))))),
    keep: (cache, { length, generated }) => {
      const budgets = cache.map((_, layer) => window + capacityOf(rule, length, layer));
      const over = Math.max(...cache.map((heads, l) => mean(heads.map((entries) => entries.length)) - budgets[l]));
      if (generated < 0 || over <= drop) return undefined;
      return each(cache, (entries, layer) => {
        const { old, always } = split(entries, window, length);
        // the i-th number of a slot is of query pos + i
        const low = ({ pos, seen }: Entry) => sum(seen!.filter((_, i) => eighth(pos + i) > eighth(length - 1) - 8));
        const scores = old.map((entry) => ({ pos: entry.pos, score: -low(entry) }));
        return best(scores, budgets[layer] - always.length, always);
      });
    },
  };
}
