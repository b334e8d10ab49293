/**
 * The shipped policies once more, from their papers' rules, in plain loops over plain lists. `generated` counts the
 * tokens fed after the prompt; it is -1 while the prompt is still being read.
 */
import type { Cache, Entry, Kept, Rule } from './forward.ts';

const sum = (xs: number[]) => xs.reduce((a, b) => a + b, 0);
const mean = (xs: number[]) => sum(xs) / xs.length;
const byPosition = (a: number, b: number) => a - b;

/** The `count` best of `candidates` (ties: newer first) and all of `always`; the margin is the distance to the border. */
function best(candidates: { pos: number; score: number }[], count: number, always: number[]) {
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

const split = (entries: Entry[], recent: number, length: number, sinks = 0) => ({
  old: entries.filter((entry) => entry.pos < length - recent && entry.pos >= sinks),
  always: entries.filter((entry) => entry.pos >= length - recent || entry.pos < sinks).map((entry) => entry.pos),
});

/** One decision per layer and head. */
const each = (cache: Cache, decide: (entries: Entry[], layer: number, head: number) => Kept[number][number]): Kept =>
  cache.map((heads, layer) => heads.map((entries, head) => decide(entries, layer, head)));

const live = (cache: Cache) => Math.max(...cache.map((heads) => mean(heads.map((entries) => entries.length))));

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

interface Snap {
  budget: number;
  window: number;
  pool: { kind: 'mean' | 'max'; width: number };
}

/** Zero padding for the mean (it always divides by the width), none for the maximum. */
function pooled(scores: number[], { kind, width }: Snap['pool']): number[] {
  const half = (width - 1) / 2;
  return scores.map((_, i) => {
    const near = scores.slice(Math.max(0, i - half), i + half + 1);
    return kind === 'max' ? Math.max(...near) : sum(near) / width;
  });
}

/** The last `window` prompt queries' mass on the keys before them, group mean, pooled. */
function snapScores(entries: Entry[], snap: Snap, length: number) {
  const { old, always } = split(entries, snap.window, length);
  const scores = pooled(
    old.map((entry) => entry.mass),
    snap.pool,
  );
  return { candidates: old.map((entry, i) => ({ pos: entry.pos, score: scores[i] })), always };
}

const snapObserve =
  (window: number): Rule['observe'] =>
  (entries, p, { pos, prompt }) => {
    if (pos < prompt - window || pos >= prompt) return;
    entries.forEach((entry, j) => (entry.mass += mean(p[j])));
  };

export function snapkv(snap: Snap): Rule {
  return {
    observe: snapObserve(snap.window),
    keep: (cache, { length, generated }) =>
      generated !== 0
        ? undefined
        : each(cache, (entries) => {
            const { candidates, always } = snapScores(entries, snap, length);
            return best(candidates, snap.budget - always.length, always);
          }),
  };
}

/** SnapKV's mass, averaged over the layer's heads and over chunks of `size` positions: whole chunks, until one does not fit. */
export function chunkkv({ budget, window, size }: { budget: number; window: number; size: number }): Rule {
  return {
    observe: snapObserve(window),
    keep: (cache, { length, generated }) =>
      generated !== 0
        ? undefined
        : cache.map((heads) => {
            const { old, always } = split(heads[0], window, length);
            const scores = old.map((_, j) => mean(heads.map((entries) => entries[j].mass)));
            const numbers = [...new Set(old.map(({ pos }) => Math.floor(pos / size)))];
            const chunks = numbers.map((pos) => {
              const members = scores.filter((_, j) => Math.floor(old[j].pos / size) === pos);
              return { pos, score: mean(members), members: members.length };
            });
            const ranked = [...chunks].sort((a, b) => b.score - a.score || b.pos - a.pos);
            let room = budget - always.length;
            const fits = ranked.findIndex(({ members }) => (room -= members) < 0);
            const chosen = best(chunks, fits < 0 ? ranked.length : fits, []);
            const stay = old.map(({ pos }) => pos).filter((pos) => chosen.positions.includes(Math.floor(pos / size)));
            const margin = new Map(old.map(({ pos }) => [pos, chosen.margin.get(Math.floor(pos / size))!]));
            return heads.map(() => ({ positions: [...stay, ...always].sort(byPosition), margin }));
          }),
  };
}

/** SnapKV with an arithmetic progression of budgets, most in the lowest layer. */
export function pyramidkv(snap: Snap & { beta: number; layers: number }): Rule {
  return {
    observe: snapObserve(snap.window),
    keep: (cache, { length, generated }) =>
      generated !== 0
        ? undefined
        : each(cache, (entries, layer) => {
            const { candidates, always } = snapScores(entries, snap, length);
            return best(candidates, capacityOf(snap, length, layer), always);
          }),
  };
}

interface Progression {
  budget: number;
  window: number;
  beta: number;
  layers: number;
}

/** An arithmetic progression over layers, whose last term is the mean over beta; no term is more than there is. */
function capacityOf({ budget, window, beta, layers }: Progression, length: number, layer: number): number {
  const [capacity, most] = [budget - window, length - window];
  if (capacity >= most) return most;
  const last = Math.floor(capacity / beta);
  const ends = [2 * capacity - last, last];
  const [first, end] =
    ends[0] > most ? [most, 2 * capacity - most] : ends[1] > most ? [2 * capacity - most, most] : ends;
  return first - layer * Math.trunc((first - end) / (layers - 1));
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

/** SnapKV scores; heads of a layer share H · capacity slots by what wins in the flattened list, with a floor. */
export function adakv(snap: Snap & { alpha: number }): Rule {
  return {
    observe: snapObserve(snap.window),
    keep: (cache, { length, generated }) =>
      generated !== 0
        ? undefined
        : cache.map((heads) => {
            const scored = heads.map((entries) => snapScores(entries, snap, length));
            const capacity = snap.budget - scored[0].always.length;
            const flat = scored
              .flatMap(({ candidates }, head) => candidates.map((entry) => ({ ...entry, head })))
              .sort((a, b) => b.score - a.score || b.pos - a.pos)
              .slice(0, heads.length * capacity);
            return scored.map(({ candidates, always }, head) => {
              const wins = flat.filter((entry) => entry.head === head).length;
              return best(candidates, Math.floor((1 - snap.alpha) * wins + snap.alpha * capacity + 0.5), always);
            });
          }),
  };
}

/** SnapKV scores; each head's best, a part of its budget with the window, are safe, the others of all heads compete. */
export function adasnapkv(snap: Snap & { guaranteed: number }): Rule {
  return {
    observe: snapObserve(snap.window),
    keep: (cache, { length, generated }) =>
      generated !== 0
        ? undefined
        : cache.map((heads) => {
            const scored = heads.map((entries) => snapScores(entries, snap, length));
            const capacity = snap.budget - scored[0].always.length;
            const safe = Math.floor(snap.guaranteed * snap.budget) - scored[0].always.length;
            const flat = scored
              .flatMap(({ candidates }, head) =>
                [...candidates]
                  .sort((a, b) => b.score - a.score || b.pos - a.pos)
                  .map((entry, rank) => ({ ...entry, head, lifted: rank < safe ? 1 : 0 })),
              )
              .sort((a, b) => b.lifted - a.lifted || b.score - a.score || b.pos - a.pos)
              .slice(0, heads.length * capacity);
            return scored.map(({ candidates, always }, head) =>
              best(candidates, flat.filter((entry) => entry.head === head).length, always),
            );
          }),
  };
}

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
        const anchor = Array.from({ length: dim }, (_, d) => mean(entries.map(({ key }) => key[d] / length2(key))));
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

interface FastGen {
  recovers: number;
  frequent: number;
  recent: number;
  sinks: number;
  /** of the token at a position */
  classOf: (pos: number) => number;
}

/** At the prompt's end the first of five sets that has `recovers` of its queries' attention; then that set's rule. */
export function fastgen({ recovers, frequent, recent, sinks, classOf }: FastGen): Rule {
  const taken = new Map<string, number>();
  /** what rules 0 … 3 keep of some entries */
  const sets = (entries: Entry[], length: number) => {
    const slots = (part: number) => Math.max(1, Math.round(part * length));
    const set = (bits: number, top: number, last: number) => {
      const always = ({ pos }: Entry) => pos < sinks || (classOf(pos) & bits) !== 0 || pos >= length - last;
      return best(
        entries.filter((entry) => !always(entry)).map(({ pos, seen }) => ({ pos, score: mean(seen!) })),
        top,
        entries.filter(always).map(({ pos }) => pos),
      );
    };
    return [set(1, 0, 0), set(3, 0, 0), set(3, slots(frequent), 0), set(3, slots(frequent), slots(recent))];
  };
  const everything = (entries: Entry[]) => ({ positions: entries.map(({ pos }) => pos), margin: new Map() });
  return {
    observe: (entries, p) => entries.forEach((entry, j) => (entry.seen ??= []).push(sum(p[j]))),
    keep: (cache, { length, generated }) =>
      generated < 0 || generated % 16 !== 0
        ? undefined
        : each(cache, (entries, layer, head) => {
            const mass = (positions: number[]) =>
              sum(entries.filter(({ pos }) => positions.includes(pos)).map(({ seen }) => sum(seen!)));
            const all = mass(entries.map(({ pos }) => pos));
            const kept = sets(entries, length);
            const enough = kept.findIndex(({ positions }) => mass(positions) >= recovers * all);
            if (generated === 0) taken.set(`${layer} ${head}`, enough);
            return kept[taken.get(`${layer} ${head}`)!] ?? everything(entries);
          }),
  };
}

export const none = (): Rule => ({});
