/**
 * `definePolicy` and the types of its fields. Data where the compiler decides (window, keep, when), pure functions where
 * the author does (accumulate, across, score). Every callback's types follow from the names the declaration introduces.
 */
import type { Slot, Vec } from './slot.ts';

interface Range {
  readonly default: number;
  readonly min: number;
  readonly max: number;
}
export interface TokensParam extends Range {
  readonly kind: 'tokens';
}
export interface FractionParam extends Range {
  readonly kind: 'fraction';
}
export interface NumberParam extends Range {
  readonly kind: 'number';
}
/** A declared parameter: a request may set it within its range, without a rebuild. */
export type Param = TokensParam | FractionParam | NumberParam;

interface Limits {
  readonly min?: number;
  readonly max?: number;
}
/** A number of tokens. */
export const tokens = (count: number, range: Limits = {}): TokensParam => ({
  kind: 'tokens',
  default: count,
  min: range.min ?? 0,
  max: range.max ?? 1048576,
});
/** A fraction of the sequence's logical length so far. */
export const fraction = (ratio: number, range: Limits = {}): FractionParam => ({
  kind: 'fraction',
  default: ratio,
  min: range.min ?? 0,
  max: range.max ?? 1,
});
/** A plain number, for expressions. */
export const number = (value: number, range: Limits = {}): NumberParam => ({
  kind: 'number',
  default: value,
  min: range.min ?? -3.4e38,
  max: range.max ?? 3.4e38,
});

/** Keep the highest scores, `budget` slots in all, protected ones included. */
export interface TopK<N> {
  readonly kind: 'topK';
  readonly budget: N;
}
export const topK = <const N extends string | number>(budget: N): TopK<N> => ({ kind: 'topK', budget });
/** Keep every slot that scores more than a threshold: a number, or a `number` parameter. */
export interface Above<N> {
  readonly kind: 'above';
  readonly threshold: N;
}
export const above = <const N extends string | number>(threshold: N): Above<N> => ({ kind: 'above', threshold });
/** Keep whole chunks of `size` consecutive positions, best mean score first, within `budget` slots. */
export interface Chunks<N> {
  readonly kind: 'chunks';
  readonly size: number;
  readonly budget: N;
}
export const chunks = <const N extends string | number>(size: number, budget: N): Chunks<N> => ({
  kind: 'chunks',
  size,
  budget,
});
/** Keep everything. */
export const everything = { kind: 'all' } as const;

/** When to compact. */
export type Trigger =
  | { readonly kind: 'promptEnd' }
  | { readonly kind: 'every'; readonly n: number | 'auto' }
  | { readonly kind: 'over'; readonly slack: number }
  | { readonly kind: 'promptChunk'; readonly n: number };
/** After the prompt's last token. */
export const promptEnd: Trigger = { kind: 'promptEnd' };
/** At the prompt's end and after every n generated tokens; 'auto' takes n from the compression ratio. */
export const every = (n: number | 'auto'): Trigger => ({ kind: 'every', n });
/** At the prompt's end and after a generated token, when more than budget + slack slots are live. */
export const over = (slack: number): Trigger => ({ kind: 'over', slack });
/** After each n prompt tokens and at the prompt's end, whatever chunks the scheduler chose. */
export const promptChunk = (n = 128): Trigger => ({ kind: 'promptChunk', n });

/** Over neighbouring slots, odd width. */
export interface PoolRule {
  readonly kind: 'mean' | 'max';
  readonly width: number;
}
/** The mean of `width` neighbouring scores; places beyond the ends count as 0. */
export const mean = (width: number): PoolRule => ({ kind: 'mean', width });
/** The highest of `width` neighbouring scores; places beyond the ends do not count. */
export const peak = (width: number): PoolRule => ({ kind: 'max', width });

/** Budgets flow between the KV heads of a layer (Ada-KV); alpha of each head's budget is its own floor. */
export const pooled = (alpha: number) => ({ kind: 'pooled', alpha }) as const;
/** Budgets fall from the first layer to the last (PyramidKV). */
export const pyramid = (beta: number) => ({ kind: 'pyramid', beta }) as const;

type Params = Readonly<Record<string, Param>>;
/** Names of a declaration that has none are none, not every string. */
type Known<P> = string extends keyof P ? never : keyof P;

/** What a policy's functions see: the slot's fields, every state by its name, and the parameters. */
export type PolicySlot<P extends PropertyKey, S extends string> = Slot & { readonly [Name in S]: number } & {
  readonly params: { readonly [Name in P]: number };
};

/** One statistic over the live slots of a head: a function of each slot, and how its values become one. */
export type Statistic<T extends number | Vec, See> =
  | { readonly mean: (slot: See) => T }
  | { readonly sum: (slot: See) => T }
  | { readonly max: (slot: See) => T }
  | { readonly min: (slot: See) => T };

/** One named state: its value for a new slot, and its next value, asked once for each observed query. */
export interface Accumulator<See> {
  readonly init: number;
  readonly next: (state: number, slot: See) => number;
}

/** Which queries' attention is seen. */
export type ObserveRule<N> = 'every' | 'decode' | { readonly last: N };

/**
 * P: the parameters, S: the states' names, A: the statistics' types. Declare `across` above `score`. Size and Level follow
 * from P: names of parameters that count slots, and of plain numbers (spelled out here, so that errors list the names).
 */
export interface PolicySpec<
  P extends Params,
  S extends string,
  A extends Readonly<Record<string, number | Vec>>,
  Size = number | { [Name in keyof P]: P[Name] extends NumberParam ? never : Name }[keyof P],
  Level = number | { [Name in keyof P]: P[Name] extends NumberParam ? Name : never }[keyof P],
> {
  /** lower-case letters, digits and hyphens */
  readonly name: string;
  readonly params?: P;
  /** every query · generated ones only · the last w of the prompt · a list of these. Absent: attention is not read. */
  readonly observe?: ObserveRule<Size> | readonly ObserveRule<Size>[];
  /** how the query heads of one KV head vote; mean when absent */
  readonly group?: 'sum' | 'mean' | 'max';
  readonly accumulate?: { readonly [Name in S]: Accumulator<PolicySlot<Known<P>, NoInfer<S>>> };
  readonly across?: { readonly [Name in keyof A]: Statistic<A[Name], PolicySlot<Known<P>, NoInfer<S>>> };
  /** lowest leaves first; absent: oldest leaves first */
  readonly score?: (slot: PolicySlot<Known<P>, NoInfer<S>>, across: A) => number;
  readonly pool?: PoolRule;
  readonly heads?: 'own' | 'shared' | { readonly kind: 'pooled'; readonly alpha: number };
  readonly layers?: 'uniform' | { readonly kind: 'pyramid'; readonly beta: number } | readonly number[];
  readonly keep: TopK<Size> | Above<Level> | Chunks<Size> | typeof everything;
  /** never evicted */
  readonly window?: {
    readonly first?: Size;
    readonly last?: Size;
    readonly prompt?: boolean;
    readonly classes?: readonly ('special' | 'punctuation')[];
  };
  readonly when?: Trigger | readonly Trigger[];
  readonly positions?: 'original' | 'cache';
  readonly store?: 'bf16' | 'f32';
  readonly evict?: 'drop';
  readonly place?: 'device';
}

/** A policy. Its functions are ordinary JavaScript: the top rung of the ladder that checks the generated code. */
export function definePolicy<
  const P extends Params = Record<never, never>,
  S extends string = never,
  A extends Readonly<Record<string, number | Vec>> = Record<never, never>,
>(spec: PolicySpec<P, S, A>): PolicySpec<P, S, A> {
  return spec;
}
