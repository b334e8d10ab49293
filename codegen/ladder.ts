/**
 * The ladder of oracles for one policy: JavaScript = interpreter = compiled code, bit for bit, on random slots. `skv test`
 * climbs it for a user's policy, the suite for hundreds of random ones.
 */
import type { HostPolicy } from './host.ts';
import { type SlotValues, advance, score } from './interpret.ts';
import type { Policy } from './ir.ts';

/** One random situation of a head: `slots` slots, all arrays [slots] or [slots · dim]. */
export interface Situation {
  readonly slots: number;
  readonly dim: number;
  readonly layer: number;
  readonly layers: number;
  readonly head: number;
  readonly heads: number;
  readonly length: number;
  readonly queryPos: number;
  /** in declared order */
  readonly params: Float32Array;
  readonly pos: Float32Array;
  readonly seen: Float32Array;
  readonly attn: Float32Array;
  readonly classes: Int32Array;
  readonly keys: Float32Array;
  readonly values: Float32Array;
  /** [state][slot] */
  readonly states: Float32Array;
}

/** A seeded generator of uniform numbers in [0, 1). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 4294967296;
  };
}

export function situation(policy: Policy, seed: number): Situation {
  const next = uniform(seed);
  const integer = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  const slots = [1, 2, 15, 16, 17, 33, 50][integer(0, 6)];
  const dim = [16, 64, 80, 128][integer(0, 3)];
  const fill = (n: number, value: () => number) => Float32Array.from({ length: n }, value);
  const wide = () => (next() - 0.5) * 10 ** integer(-3, 3);
  const queryPos = slots - 1 + integer(0, 5000);
  const [layers, heads] = [integer(1, 40), integer(1, 16)];
  return {
    slots,
    dim,
    layers,
    heads,
    layer: integer(0, layers - 1),
    head: integer(0, heads - 1),
    length: queryPos + 1,
    queryPos,
    params: Float32Array.from({ length: 16 }, (_, i) => policy.params[i]?.default ?? 0),
    pos: fill(slots, () => integer(0, queryPos)).sort(),
    seen: fill(slots, () => integer(1, 300)),
    attn: fill(slots, () => (integer(0, 9) === 0 ? 0 : next() ** 4)),
    classes: Int32Array.from({ length: slots }, () => integer(0, 3)),
    keys: fill(slots * dim, wide),
    values: fill(slots * dim, wide),
    states: fill(slots * policy.states.length, wide),
  };
}

/** Slot s as the interpreter sees it. */
function slotValues(policy: Policy, at: Situation, s: number): SlotValues {
  return {
    fields: {
      attn: at.attn[s],
      pos: at.pos[s],
      age: Math.fround(at.queryPos - at.pos[s]),
      seen: at.seen[s],
      live: at.slots,
      length: at.length,
      layer: at.layer,
      layers: at.layers,
      head: at.head,
      heads: at.heads,
      special: (at.classes[s] & 1) !== 0,
      punctuation: (at.classes[s] & 2) !== 0,
      key: at.keys.subarray(s * at.dim, (s + 1) * at.dim),
      value: at.values.subarray(s * at.dim, (s + 1) * at.dim),
    },
    states: Object.fromEntries(policy.states.map(({ name }, i) => [name, at.states[i * at.slots + s]])),
    params: Object.fromEntries(policy.params.map(({ name }, i) => [name, at.params[i]])),
  };
}

export interface Rung {
  /** [state][slot] after one observed query */
  readonly states: Float32Array;
  /** [slot] */
  readonly scores: Float32Array;
}

/** The interpreter's rung. */
export function interpreted(policy: Policy, at: Situation): Rung {
  const slots = Array.from({ length: at.slots }, (_, s) => slotValues(policy, at, s));
  const states = new Float32Array(at.states.length);
  slots.forEach((slot, s) =>
    Object.values(advance(policy.states, slot)).forEach((value, i) => (states[i * at.slots + s] = value)),
  );
  return { states, scores: score(policy, slots) };
}

/** JavaScript's rung: the author's own functions. */
export function onHostPolicy(policy: Policy, runnable: HostPolicy, at: Situation): Rung {
  const views = Array.from({ length: at.slots }, (_, s) => {
    const { fields, states, params } = slotValues(policy, at, s);
    return { ...fields, ...states, params };
  });
  const states = new Float32Array(at.states.length);
  policy.states.forEach(({ name }, i) =>
    views.forEach(
      (view, s) =>
        (states[i * at.slots + s] = runnable.accumulate![name].next(
          (view as unknown as Record<string, number>)[name],
          view,
        )),
    ),
  );
  const across: Record<string, number | Float32Array> = {};
  for (const [name, each] of Object.entries(runnable.across ?? {}))
    across[name] = reduce(
      each.kind,
      views.map((view) => each.of(view)),
    );
  return {
    states,
    scores: Float32Array.from(views, (view) => (runnable.score ? runnable.score(view, across) : (view.pos as number))),
  };
}

/** A statistic once more, from the language's words: trees of 16, then page by page. */
function reduce(kind: string, values: (number | Float32Array)[]): number | Float32Array {
  if (typeof values[0] !== 'number')
    return Float32Array.from(
      values[0],
      (_, d) =>
        reduce(
          kind,
          values.map((value) => (value as Float32Array)[d]),
        ) as number,
    );
  const list = values as number[];
  if (kind === 'max') return list.reduce((a, b) => (b > a ? b : a));
  if (kind === 'min') return list.reduce((a, b) => (b < a ? b : a));
  const fold = (part: number[]): number => {
    const lanes = Float32Array.from({ length: 16 }, (_, i) => part[i] ?? 0);
    for (const width of [8, 4, 2, 1]) for (let i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
  };
  let sum = 0;
  for (let page = 0; page < list.length; page += 16) sum = Math.fround(sum + fold(list.slice(page, page + 16)));
  return kind === 'mean' ? Math.fround(sum / list.length) : sum;
}

/** The first index where two rungs differ in bits (two NaN are equal), or undefined. */
export function difference(a: Float32Array, b: Float32Array): number | undefined {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return undefined;
}
