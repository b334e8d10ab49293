/**
 * `definePolicy` and the types of its fields. Data where the compiler decides (window, keep, when), pure functions where
 * the author does (accumulate, across, score). Every callback's types follow from the names the declaration introduces.
 */
import type { Slot, Vec } from './slot.js';
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
export declare const tokens: (count: number, range?: Limits) => TokensParam;
/** A fraction of the sequence's logical length so far. */
export declare const fraction: (ratio: number, range?: Limits) => FractionParam;
/** A plain number, for expressions. */
export declare const number: (value: number, range?: Limits) => NumberParam;
/** Keep the highest scores, `budget` slots in all, protected ones included. */
export interface TopK<N> {
    readonly kind: 'topK';
    readonly budget: N;
}
export declare const topK: <const N extends string | number>(budget: N) => TopK<N>;
/** Keep every slot that scores more than a threshold: a number, or a `number` parameter. */
export interface Above<N> {
    readonly kind: 'above';
    readonly threshold: N;
}
export declare const above: <const N extends string | number>(threshold: N) => Above<N>;
/** Keep whole chunks of `size` consecutive positions, best mean score first, within `budget` slots. */
export interface Chunks<N> {
    readonly kind: 'chunks';
    readonly size: number;
    readonly budget: N;
}
export declare const chunks: <const N extends string | number>(size: number, budget: N) => Chunks<N>;
/** Keep everything. */
export declare const everything: {
    readonly kind: "all";
};
/** When to compact. */
export type Trigger = {
    readonly kind: 'promptEnd';
} | {
    readonly kind: 'every';
    readonly n: number | 'auto';
} | {
    readonly kind: 'over';
    readonly slack: number;
} | {
    readonly kind: 'promptChunk';
    readonly n: number;
};
/** After the prompt's last token. */
export declare const promptEnd: Trigger;
/** At the prompt's end and after every n generated tokens; 'auto' takes n from the compression ratio. */
export declare const every: (n: number | "auto") => Trigger;
/** At the prompt's end and after a generated token, when more than budget + slack slots are live. */
export declare const over: (slack: number) => Trigger;
/** After each n prompt tokens and at the prompt's end, whatever chunks the scheduler chose. */
export declare const promptChunk: (n?: number) => Trigger;
/** Over neighbouring slots, odd width. */
export interface PoolRule {
    readonly kind: 'mean' | 'max';
    readonly width: number;
}
/** The mean of `width` neighbouring scores; places beyond the ends count as 0. */
export declare const mean: (width: number) => PoolRule;
/** The highest of `width` neighbouring scores; places beyond the ends do not count. */
export declare const peak: (width: number) => PoolRule;
/** Budgets flow between the KV heads of a layer (Ada-KV); alpha of each head's budget is its own floor. */
export declare const pooled: (alpha: number) => {
    readonly kind: "pooled";
    readonly alpha: number;
};
/** Budgets fall from the first layer to the last (PyramidKV). */
export declare const pyramid: (beta: number) => {
    readonly kind: "pyramid";
    readonly beta: number;
};
type Params = Readonly<Record<string, Param>>;
/** Names of a declaration that has none are none, not every string. */
type Known<P> = string extends keyof P ? never : keyof P;
/** What a policy's functions see: the slot's fields, every state by its name, and the parameters. */
export type PolicySlot<P extends PropertyKey, S extends string> = Slot & {
    readonly [Name in S]: number;
} & {
    readonly params: {
        readonly [Name in P]: number;
    };
};
/** One statistic over the live slots of a head: a function of each slot, and how its values become one. */
export type Statistic<T extends number | Vec, See> = {
    readonly mean: (slot: See) => T;
} | {
    readonly sum: (slot: See) => T;
} | {
    readonly max: (slot: See) => T;
} | {
    readonly min: (slot: See) => T;
};
/** One named state: its value for a new slot, and its next value, asked once for each observed query. */
export interface Accumulator<See> {
    readonly init: number;
    readonly next: (state: number, slot: See) => number;
}
/** Which queries' attention is seen. */
export type ObserveRule<N> = 'every' | 'decode' | {
    readonly last: N;
};
/**
 * P: the parameters, S: the states' names, A: the statistics' types. Declare `across` above `score`. Size and Level follow
 * from P: names of parameters that count slots, and of plain numbers (spelled out here, so that errors list the names).
 */
export interface PolicySpec<P extends Params, S extends string, A extends Readonly<Record<string, number | Vec>>, Size = number | {
    [Name in keyof P]: P[Name] extends NumberParam ? never : Name;
}[keyof P], Level = number | {
    [Name in keyof P]: P[Name] extends NumberParam ? Name : never;
}[keyof P]> {
    /** lower-case letters, digits and hyphens */
    readonly name: string;
    readonly params?: P;
    /** every query · generated ones only · the last w of the prompt · a list of these. Absent: attention is not read. */
    readonly observe?: ObserveRule<Size> | readonly ObserveRule<Size>[];
    /** how the query heads of one KV head vote; mean when absent */
    readonly group?: 'sum' | 'mean' | 'max';
    readonly accumulate?: {
        readonly [Name in S]: Accumulator<PolicySlot<Known<P>, NoInfer<S>>>;
    };
    readonly across?: {
        readonly [Name in keyof A]: Statistic<A[Name], PolicySlot<Known<P>, NoInfer<S>>>;
    };
    /** lowest leaves first; absent: oldest leaves first */
    readonly score?: (slot: PolicySlot<Known<P>, NoInfer<S>>, across: A) => number;
    readonly pool?: PoolRule;
    readonly heads?: 'own' | 'shared' | {
        readonly kind: 'pooled';
        readonly alpha: number;
    };
    readonly layers?: 'uniform' | {
        readonly kind: 'pyramid';
        readonly beta: number;
    } | readonly number[];
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
export declare function definePolicy<const P extends Params = Record<never, never>, S extends string = never, A extends Readonly<Record<string, number | Vec>> = Record<never, never>>(spec: PolicySpec<P, S, A>): PolicySpec<P, S, A>;
export {};
