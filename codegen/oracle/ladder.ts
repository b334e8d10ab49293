/**
 * The ladder of oracles for one policy: JavaScript = interpreter = compiled code, bit for bit, on random slots. `skv test`
 * climbs it for a user's policy, the suite for hundreds of random ones.
 */
import { TokenClass } from '../../runtime/contract/records.ts';
import type { HostHistory, HostPolicy } from './host.ts';
import { random } from './random.ts';
import { hostStatistics } from './statistics.ts';
import { chance } from '../ir/chance.ts';
import { fieldsOf, paramsOf } from '../ir/fields.ts';
import { type SlotValues, type Value, advance, score, statistics } from '../ir/interpret.ts';
import { BUCKETS, type Param, type Policy, writtenName } from '../ir/nodes.ts';

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
  /** the request's seed, low and high 32 bits */
  readonly seedLo: number;
  readonly seedHi: number;
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

/** Numbers where arithmetic goes wrong first. */
const EXTREMES = [0, -0, 1, -1, Number.NaN, Infinity, -Infinity, 1e-45, -1.17549435e-38, 3.4028235e38];

/**
 * A random situation from a seed. `wild`: some states, keys and values are extreme (NaN, infinities, -0, subnormals);
 * otherwise all are finite, as a model gives them.
 */
export function situation(policy: Policy, seed: number, wild = false): Situation {
  const next = random(seed);
  const integer = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  const slots = [1, 2, 15, 16, 17, 33, 50][integer(0, 6)];
  const dim = [16, 64, 80, 128][integer(0, 3)];
  const fill = (n: number, value: () => number) => Float32Array.from({ length: n }, value);
  const extreme = (oneIn: number) => wild && integer(1, oneIn) === 1;
  const wide = (oneIn: number) => () =>
    extreme(oneIn) ? EXTREMES[integer(0, EXTREMES.length - 1)] : (next() - 0.5) * 10 ** integer(-3, 3);
  const queryPos = slots - 1 + integer(0, 5000);
  const { tables } = policy;
  const [layers, heads] = [
    tables[0]?.layers ?? integer(1, 40),
    tables.find((table) => table.heads)?.heads ?? integer(1, 16),
  ];
  const [layer, head] = [integer(0, layers - 1), integer(0, heads - 1)];
  return {
    slots,
    dim,
    layers,
    heads,
    layer,
    head,
    length: queryPos + 1,
    queryPos,
    seedLo: seed,
    seedHi: ~seed,
    params: fill(16, () => 0).map((_, i) => paramValue(policy.params[i], next)),
    pos: fill(slots, () => integer(0, queryPos)).sort(),
    seen: fill(slots, () => integer(1, 300)),
    attn: fill(slots, () => (integer(0, 9) === 0 ? 0 : next() ** 4)),
    classes: Int32Array.from({ length: slots }, () => integer(0, 3)),
    keys: fill(slots * dim, wide(500)), // a sum over a vector keeps one extreme
    values: fill(slots * dim, wide(500)),
    states: fill(slots * policy.states.length, wide(12)),
  };
}

/** A parameter's default, or another value of its range near it. */
function paramValue(param: Param | undefined, next: () => number): number {
  if (!param) return 0;
  if (next() < 0.5) return param.default;
  const reach = Math.max(1, Math.abs(param.default));
  const value = param.default + (next() - 0.5) * 2 * reach;
  const inside = Math.min(Math.max(value, param.min), param.max);
  return param.kind === 'tokens' ? Math.round(inside) : inside;
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
      voter: 0,
      random: chance([at.seedLo, at.seedHi], { layer: at.layer, head: at.head, query: at.queryPos, pos: at.pos[s] }),
      special: (at.classes[s] & TokenClass.special) !== 0,
      punctuation: (at.classes[s] & TokenClass.punctuation) !== 0,
      key: at.keys.subarray(s * at.dim, (s + 1) * at.dim),
      value: at.values.subarray(s * at.dim, (s + 1) * at.dim),
    },
    states: Object.fromEntries(policy.states.map(({ name }, i) => [name, at.states[i * at.slots + s]])),
    params: Object.fromEntries(policy.params.map(({ name }, i) => [name, at.params[i]])),
  };
}

/** The situation with states that a sequence can have: `init`, then up to eight observed queries. */
export function reached(policy: Policy, at: Situation, seed: number): Situation {
  const next = random(~seed);
  const { states: begun } = interpreted(policy, at);
  const states = Float32Array.from(at.states, (_, i) => {
    const { once, init } = policy.states[Math.floor(i / at.slots)];
    return once ? begun[i] : init;
  });
  let now: Situation = { ...at, states };
  for (let queries = Math.floor(next() * 9); queries > 0; queries--) {
    const attn = Float32Array.from(at.attn, () => next() ** 4);
    now = { ...now, states: interpreted(policy, { ...now, attn }).states };
  }
  return now;
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
  slots.forEach((slot, s) => {
    const after = advance(policy.states, slot);
    policy.states.forEach(({ name }, i) => {
      states[i * at.slots + s] = after[name];
    });
  });
  return { states, scores: score(policy, slots) };
}

/** What the score of slot s is computed from, by the names the author writes. */
export function inputsOf(policy: Policy, at: Situation, s: number): Record<string, Value> {
  const nodes = [...(policy.score ? [policy.score] : []), ...policy.across.map((each) => each.of)];
  const slots = Array.from({ length: at.slots }, (_, i) => slotValues(policy, at, i));
  const { fields, states, params } = slots[s];
  const named = (prefix: string, values: Iterable<[string, Value]>) =>
    [...values].map(([name, value]): [string, Value] => [`${prefix}${name}`, value]);
  return Object.fromEntries([
    ...[...fieldsOf(nodes)].map((field): [string, Value] => [`slot.${field}`, fields[field]!]),
    ...named('slot.', Object.entries(states)),
    ...named(
      'slot.params.',
      Object.entries(params).filter(([name]) => paramsOf(nodes).has(name)),
    ),
    ...named('across.', Object.entries(statistics(policy, slots)[s])),
  ]);
}

/** JavaScript's rung: the author's own functions. */
export function onHostPolicy(policy: Policy, runnable: HostPolicy, at: Situation): Rung {
  const views = Array.from({ length: at.slots }, (_, s) => {
    const { fields, states, params } = slotValues(policy, at, s);
    const sums: Record<string, number> = {};
    for (const { name, history } of policy.states)
      if (history) sums[history.of] = history.bucket ? Math.fround(sums[history.of] + states[name]) : states[name];
    return { ...fields, ...states, ...sums, params };
  });
  const states = new Float32Array(at.states.length);
  policy.states.forEach((state, i) => {
    const each = runnable.accumulate![writtenName(state)];
    views.forEach((view, s) => {
      const before = at.states[i * at.slots + s];
      const bucket = { at: state.history?.bucket ?? 0, before, query: at.queryPos };
      if ('once' in each) states[i * at.slots + s] = each.once(view);
      else states[i * at.slots + s] = 'next' in each ? each.next(before, view) : nextBucket(each, view, bucket);
    });
  });
  const across = hostStatistics(runnable, views);
  const { score = (view) => (view as { pos: number }).pos } = runnable;
  return { states, scores: Float32Array.from(views, (view, s) => score(view, across[s])) };
}

/** One of the eight buckets of a history after query number `query`. */
function nextBucket(
  { last, sum }: HostHistory,
  view: { params: Record<string, number> },
  { at, before, query }: { at: number; before: number; query: number },
): number {
  const queries = typeof last === 'string' ? view.params[last] : last;
  const bucket = Math.floor((query * BUCKETS) / queries);
  if (bucket % BUCKETS !== at) return before;
  const first = Math.floor(((query - 1) * BUCKETS) / queries) !== bucket;
  return Math.fround((first ? 0 : before) + sum(view));
}

/** The first index where two rungs differ in bits (two NaN are equal), or undefined. */
export function difference(a: Float32Array, b: Float32Array): number | undefined {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return undefined;
}
