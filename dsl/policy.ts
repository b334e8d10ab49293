/**
 * `definePolicy` and the types of its fields. Data where the compiler decides (window, keep, when), pure functions where the
 * author does (accumulate, score). Every callback's types follow from the names the declaration itself introduces.
 */
import type { Slot, Vec } from './slot.ts';

/** A declared parameter: a request may set it within its range, without a rebuild. */
export type Param =
  | { readonly kind: 'tokens'; readonly default: number; readonly min: number; readonly max: number }
  | { readonly kind: 'fraction'; readonly default: number; readonly min: number; readonly max: number }
  | { readonly kind: 'number'; readonly default: number; readonly min: number; readonly max: number };

/** A number of tokens. */
export const tokens = (count: number, range: { min?: number; max?: number } = {}): Param => ({
  kind: 'tokens',
  default: count,
  min: range.min ?? 0,
  max: range.max ?? 1048576,
});
/** A fraction of the sequence's logical length so far. */
export const fraction = (ratio: number, range: { min?: number; max?: number } = {}): Param => ({
  kind: 'fraction',
  default: ratio,
  min: range.min ?? 0,
  max: range.max ?? 1,
});
/** A plain number. */
export const number = (value: number, range: { min?: number; max?: number } = {}): Param => ({
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

/** Over neighbouring slots, odd width: the mean counts zeros outside, the maximum ignores the outside. */
export type PoolRule = { readonly kind: 'mean' | 'max'; readonly width: number };
/** A statistic over the live slots of a head. */
export interface Statistic<T extends number | Vec> {
  readonly kind: 'mean' | 'max' | 'sum' | 'min';
  readonly of: (slot: Slot) => T;
}

type Of<T> = (slot: Slot) => T;
/** `mean(5)` pools scores; `mean(slot => …)` is a statistic. */
export function mean(width: number): { readonly kind: 'mean'; readonly width: number };
export function mean<T extends number | Vec>(of: Of<T>): Statistic<T>;
export function mean(arg: number | Of<number | Vec>): unknown {
  return typeof arg === 'number' ? { kind: 'mean', width: arg } : { kind: 'mean', of: arg };
}
/** `peak(7)` pools scores with their maximum; `peak(slot => …)` is a statistic. */
export function peak(width: number): { readonly kind: 'max'; readonly width: number };
export function peak<T extends number | Vec>(of: Of<T>): Statistic<T>;
export function peak(arg: number | Of<number | Vec>): unknown {
  return typeof arg === 'number' ? { kind: 'max', width: arg } : { kind: 'max', of: arg };
}
export const total = <T extends number | Vec>(of: Of<T>): Statistic<T> => ({ kind: 'sum', of });
export const least = <T extends number | Vec>(of: Of<T>): Statistic<T> => ({ kind: 'min', of });

/** Budgets flow between the KV heads of a layer (Ada-KV); alpha of each head's budget is its own floor. */
export const pooled = (alpha: number) => ({ kind: 'pooled', alpha }) as const;
/** Budgets fall from the first layer to the last (PyramidKV). */
export const pyramid = (beta: number) => ({ kind: 'pyramid', beta }) as const;

type Names<K extends string, T> = { readonly [Name in K]: T };
type Values<A> = {
  readonly [Name in keyof A]: A[Name] extends Statistic<infer T> ? (T extends number ? number : Vec) : never;
};
/** What `next` and `score` see: the slot's fields, every state by its name, and the parameters. */
export type PolicySlot<P extends string, S extends string> = Slot &
  Names<S, number> & { readonly params: Names<P, number> };

/** Which queries' attention is seen. */
export type ObserveRule<N> = 'every' | 'decode' | { readonly last: N };

export interface PolicySpec<P extends string, S extends string, A extends Record<string, Statistic<number | Vec>>> {
  /** lower-case letters, digits and hyphens */
  readonly name: string;
  readonly params?: { readonly [Name in P]: Param };
  /** every query · the last w of the prompt · generated ones only · a list of these. Absent: attention is not read. */
  readonly observe?: ObserveRule<number | NoInfer<P>> | readonly ObserveRule<number | NoInfer<P>>[];
  /** how the query heads of one KV head vote */
  readonly group?: 'sum' | 'mean' | 'max';
  readonly accumulate?: {
    readonly [Name in S]: {
      readonly init: number;
      readonly next: (state: number, slot: PolicySlot<NoInfer<P>, NoInfer<S>>) => number;
    };
  };
  readonly across?: A;
  /** lowest leaves first; absent: oldest leaves first */
  readonly score?: (slot: PolicySlot<NoInfer<P>, NoInfer<S>>, across: Values<A>) => number;
  readonly pool?: PoolRule;
  readonly heads?: 'own' | 'shared' | { readonly kind: 'pooled'; readonly alpha: number };
  readonly layers?: 'uniform' | { readonly kind: 'pyramid'; readonly beta: number } | readonly number[];
  readonly keep:
    | TopK<number | NoInfer<P>>
    | Above<number | NoInfer<P>>
    | Chunks<number | NoInfer<P>>
    | typeof everything;
  /** never evicted */
  readonly window?: {
    readonly first?: number | NoInfer<P>;
    readonly last?: number | NoInfer<P>;
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
  P extends string = never,
  S extends string = never,
  A extends Record<string, Statistic<number | Vec>> = Record<never, never>,
>(spec: PolicySpec<P, S, A>): PolicySpec<P, S, A> {
  return spec;
}
