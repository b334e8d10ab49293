/**
 * A parameter that counts whole tokens: 0 … 1,048,576 unless `range` says otherwise.
 * @example
 * params: { budget: tokens(512), recent: tokens(64, { max: 256 }) }
 */
export const tokens = (count, range = {}) => ({
    kind: 'tokens',
    default: count,
    min: range.min ?? 0,
    max: range.max ?? 1048576,
});
/**
 * A parameter that is a part of the sequence's logical length so far: 0 … 1 unless `range` says otherwise. As a size it is
 * rounded to whole slots, one at least.
 * @example
 * params: { budget: fraction(0.25), recent: fraction(0.05, { max: 0.2 }) }
 */
export const fraction = (ratio, range = {}) => ({
    kind: 'fraction',
    default: ratio,
    min: range.min ?? 0,
    max: range.max ?? 1,
});
/**
 * A parameter without a unit, for expressions and thresholds: any finite f32 unless `range` says otherwise.
 * @example
 * params: { budget: tokens(512), decay: number(0.99, { min: 0, max: 1 }) }
 */
export const number = (value, range = {}) => ({
    kind: 'number',
    default: value,
    min: range.min ?? -3.4e38,
    max: range.max ?? 3.4e38,
});
