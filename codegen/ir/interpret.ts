/** The IR evaluated in f32: the living definition of the language. */
import { onHost } from './builtins.ts';
import { type Across, type Node, type Policy, type SlotField, type State, type Table, isPlace } from './nodes.ts';
import { operands } from './walk.ts';

/** A number, a boolean, or a vector [head_dim]. */
export type Value = number | boolean | Float32Array;

/** One slot as an expression sees it. */
export interface SlotValues {
  readonly fields: Partial<Record<SlotField, Value>>;
  readonly states: Readonly<Record<string, number>>;
  readonly params: Readonly<Record<string, number>>;
}

const f = Math.fround;

/** One operation on evaluated operands. */
export function apply(node: Node, args: readonly Value[]): Value {
  const [a, b] = args as number[];
  switch (node.op) {
    case 'unary':
      return node.fn === 'neg' ? -a : !a;
    case 'select':
      return args[0] ? args[1] : args[2];
    case 'call':
      return onHost(node.fn)(...(args as never[])) as Value;
    case 'binary':
      switch (node.fn) {
        case 'add':
          return f(a + b);
        case 'sub':
          return f(a - b);
        case 'mul':
          return f(a * b);
        case 'div':
          return f(a / b);
        case 'lt':
          return a < b;
        case 'le':
          return a <= b;
        case 'gt':
          return a > b;
        case 'ge':
          return a >= b;
        case 'eq':
          return a === b;
        case 'ne':
          return a !== b;
        case 'and':
          return Boolean(args[0] && args[1]);
        case 'or':
          return Boolean(args[0] || args[1]);
      }
  }
  throw new Error(`nothing to apply: ${node.op}`);
}

/** Where a slot's value lies among a table's. */
const placeIn = ({ heads }: Table, { layer, head }: { layer: number; head: number }): number =>
  heads ? layer * heads + head : layer;

export function evaluate(
  node: Node,
  slot: SlotValues,
  across: Readonly<Record<string, Value>> = {},
  known = new Map<Node, Value>(),
): Value {
  const seen = known.get(node);
  if (seen !== undefined) return seen;
  const value = ((): Value => {
    switch (node.op) {
      case 'const':
        return node.value;
      case 'slot':
        return slot.fields[node.field]!;
      case 'state':
        return slot.states[node.name];
      case 'param':
        return slot.params[node.name];
      case 'across':
        return across[node.name];
      case 'table':
        return node.table.values[placeIn(node.table, slot.fields as { layer: number; head: number })];
      default:
        return apply(
          node,
          operands(node).map((operand) => evaluate(operand, slot, across, known)),
        );
    }
  })();
  known.set(node, value);
  return value;
}

/**
 * Every state after one observed query: all `next` read the states as they were. What is computed once is what it was, since
 * it reads nothing that changes.
 */
export const advance = (states: readonly State[], slot: SlotValues): Record<string, number> =>
  Object.fromEntries(states.map((state) => [state.name, evaluate(state.next, slot) as number]));

/** Binary tree over 16 values: i += i + 8, + 4, + 2, + 1. */
function tree(values: Float32Array): number {
  for (let width = 8; width >= 1; width /= 2)
    for (let i = 0; i < width; i++) values[i] = f(values[i] + values[i + width]);
  return values[0];
}

/** The n-th largest, NaN lowest; of fewer the least, of none infinity. */
function nth(n: number, values: readonly number[]): number {
  if (n < 1) return Infinity;
  const real = values.filter((x) => !Number.isNaN(x)).sort((a, b) => (a === b ? 0 : b - a)); // infinities equal themselves
  const value = real[Math.min(n, values.length) - 1] ?? Number.NaN;
  return value + 0;
}

/** A statistic over slots, which are numbered from 0. */
export function statistic({ name, reduce, n, of }: Across, slots: readonly SlotValues[]): Value {
  const values = slots.map((slot) => evaluate(of, slot));
  if (reduce === 'softmax' || reduce === 'rank') throw new Error(`${name} is of a slot, not of all`);
  if (reduce === 'nth') return nth(evaluate(n!, slots[0]) as number, values as number[]);
  if (of.type !== 'vec') return reduced(reduce, values as number[]);
  const vectors = values as Float32Array[];
  return Float32Array.from(vectors[0], (_, d) =>
    reduced(
      reduce,
      vectors.map((vector) => vector[d]),
    ),
  );
}

/** The partition of a position: from 0, and -1 before the first. */
const partitionOf = (pos: number, first: number, size: number): number =>
  pos < first ? -1 : Math.floor((pos - first) / size);

/** Slots of each partition, by index, in order. */
function partitionsOf({ partitions }: Policy, slots: readonly SlotValues[]): Map<number, number[]> {
  const found = new Map<number, number[]>();
  if (!partitions) return found;
  slots.forEach((slot, s) => {
    const [first, size] = [partitions.first, partitions.size].map((node) => evaluate(node, slot) as number);
    const number = partitionOf(slot.fields.pos as number, first, Math.max(1, size));
    found.set(number, [...(found.get(number) ?? []), s]);
  });
  return found;
}

/** Softmax of the slots `own` of a head; sums as of a statistic, slots of other partitions absent. */
function softmax(values: readonly number[], own: readonly number[]): number[] {
  const most = own.reduce((best, s) => (values[s] > best ? values[s] : best), -Infinity);
  const exp = onHost('exp') as (x: number) => number;
  const powers = values.map(() => 0);
  for (const s of own) powers[s] = exp(f(values[s] - most));
  const [from, end] = [Math.floor(own[0] / 16) * 16, own[own.length - 1] + 1];
  const sum = reduced('sum', powers.slice(from, end));
  return own.map((s) => f(powers[s] / sum));
}

/** How many of the slots `own` are before each: larger, or equal and newer; NaN is lowest. */
function ranks(values: readonly number[], own: readonly number[]): number[] {
  const before = (a: number, b: number) => {
    const [x, y] = [values[a], values[b]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) && Number.isNaN(y) ? a > b : Number.isNaN(y);
    return x === y ? a > b : x > y;
  };
  return own.map((s) => own.filter((other) => before(other, s)).length);
}

/** What each slot reads of the statistics, in slot order. */
export function statistics(policy: Policy, slots: readonly SlotValues[]): Record<string, Value>[] {
  const views = slots.map((): Record<string, Value> => ({}));
  const partitions = partitionsOf(policy, slots);
  const give = (name: string, own: readonly number[], values: (i: number) => Value) =>
    own.forEach((s, i) => {
      views[s][name] = values(i);
    });
  for (const each of policy.across) {
    const { name, reduce, of, partition } = each;
    if (isPlace(each)) {
      const values = slots.map((slot, s) => evaluate(of, slot, views[s]) as number);
      for (const own of partitions.values()) {
        const places = reduce === 'rank' ? ranks(values, own) : softmax(values, own);
        give(name, own, (i) => places[i]);
      }
    } else if (partition) {
      for (const [number, own] of partitions) {
        const next = (partitions.get(number + 1) ?? []).map((s) => slots[s]);
        const value = next.length ? statistic(each, next) : ofNone(each, slots[0]);
        give(name, own, () => value);
      }
    } else {
      const value = statistic(each, slots);
      give(name, [...slots.keys()], () => value);
    }
  }
  return views;
}

/** An extreme of no slots. */
function ofNone({ reduce, of }: Across, slot: SlotValues): Value {
  const none = reduce === 'max' ? -Infinity : Infinity;
  return of.type === 'vec' ? (evaluate(of, slot) as Float32Array).map(() => none) : none;
}

/**
 * One number of those of all slots: sums in sixteen interleaved parts in slot order, then a tree; extremes start at infinity,
 * leave NaN out and are 0 for -0.
 */
export function reduced(reduce: 'mean' | 'sum' | 'max' | 'min', column: readonly number[]): number {
  if (reduce === 'max') return column.reduce((best, x) => (x > best ? x : best), -Infinity) + 0;
  if (reduce === 'min') return column.reduce((best, x) => (x < best ? x : best), Infinity) + 0;
  const lanes = new Float32Array(16);
  column.forEach((x, s) => {
    lanes[s % 16] += x;
  });
  const sum = tree(lanes);
  return reduce === 'mean' ? f(sum / column.length) : sum;
}

/** The score of every slot of a head, before pool and heads. */
export function score(policy: Policy, slots: readonly SlotValues[]): Float32Array {
  const across = statistics(policy, slots);
  return Float32Array.from(slots, (slot, s) =>
    policy.score ? (evaluate(policy.score, slot, across[s]) as number) : (slot.fields.pos as number),
  );
}
