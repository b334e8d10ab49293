/** Parameters: values that a request may set within a range, and the helpers that declare them. */
interface Range {
    /** The value of a request that sets none, in the parameter's unit. */
    readonly default: number;
    /** Least value a request may set. */
    readonly min: number;
    /** Largest value a request may set. */
    readonly max: number;
}
/** A parameter that counts tokens, as `tokens` makes it. */
export interface TokensParam extends Range {
    /** Its unit: whole tokens. */
    readonly kind: 'tokens';
}
/** A parameter that is a part of the sequence, as `fraction` makes it. */
export interface FractionParam extends Range {
    /** Its unit: a part of the logical length so far, 0 … 1. */
    readonly kind: 'fraction';
}
/** A parameter that is a plain number, as `number` makes it. */
export interface NumberParam extends Range {
    /** It has no unit: expressions and thresholds read it, nothing is sized by it. */
    readonly kind: 'number';
}
/**
 * A declared parameter: a request may set it within its range, without a rebuild. Expressions read it as
 * `slot.params.name`, sizes name it in quotes.
 * @example
 * params: { budget: tokens(512), recent: fraction(0.1), decay: number(0.99, { min: 0, max: 1 }) }
 */
export type Param = TokensParam | FractionParam | NumberParam;
interface Limits {
    /** Least value a request may set, in the parameter's unit; never below 0 for tokens and fractions. */
    readonly min?: number;
    /** Largest value a request may set, in the parameter's unit. */
    readonly max?: number;
}
/**
 * A parameter that counts whole tokens: 0 … 1,048,576 unless `range` says otherwise.
 * @example
 * params: { budget: tokens(512), recent: tokens(64, { max: 256 }) }
 */
export declare const tokens: (count: number, range?: Limits) => TokensParam;
/**
 * A parameter that is a part of the sequence's logical length so far: 0 … 1 unless `range` says otherwise. As a size it is
 * rounded to whole slots, one at least.
 * @example
 * params: { budget: fraction(0.25), recent: fraction(0.05, { max: 0.2 }) }
 */
export declare const fraction: (ratio: number, range?: Limits) => FractionParam;
/**
 * A parameter without a unit, for expressions and thresholds: any finite f32 unless `range` says otherwise.
 * @example
 * params: { budget: tokens(512), decay: number(0.99, { min: 0, max: 1 }) }
 */
export declare const number: (value: number, range?: Limits) => NumberParam;
export {};
