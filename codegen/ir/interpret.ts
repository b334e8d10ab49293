/** The IR evaluated in f32: the living definition of the language. */
import { onHost } from './builtins.ts';
import type { Across, Node, Policy, SlotField, State, Table } from './nodes.ts';
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

/** Every state after one observed query: all `next` read the states as they were. */
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

/**
 * A statistic over slots. Sums run in a tree within each 16 slots, then page by page; absent slots add nothing. Extremes
 * start at infinity and leave NaN out.
 */
export function statistic({ reduce, n, of }: Across, slots: readonly SlotValues[]): Value {
  const values = slots.map((slot) => evaluate(of, slot));
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

function reduced(reduce: Exclude<Across['reduce'], 'nth'>, column: readonly number[]): number {
  if (reduce === 'max') return column.reduce((best, x) => (x > best ? x : best), -Infinity);
  if (reduce === 'min') return column.reduce((best, x) => (x < best ? x : best), Infinity);
  let sum = 0;
  for (let page = 0; page < column.length; page += 16) {
    const lanes = new Float32Array(16);
    lanes.set(column.slice(page, page + 16));
    sum = f(sum + tree(lanes));
  }
  return reduce === 'mean' ? f(sum / column.length) : sum;
}

/** The score of every slot of a head, before pool and heads. */
export function score(policy: Policy, slots: readonly SlotValues[]): Float32Array {
  const across = Object.fromEntries(policy.across.map((each) => [each.name, statistic(each, slots)]));
  return Float32Array.from(slots, (slot) =>
    policy.score ? (evaluate(policy.score, slot, across) as number) : (slot.fields.pos as number),
  );
}
