/**
 * Keep the highest scores, `budget` slots of each KV head. The window's slots count towards it, unless
 * `{ besides: 'protected' }` lets them stay in addition. A ratio (`--ratio`, `sparse_kv.ratio`) stands in for the budget.
 * @example
 * keep: topK('budget', { besides: 'protected' })
 */
export const topK = (budget, counting = {}) => ({
    kind: 'topK',
    budget,
    ...counting,
});
/**
 * Keep every slot that scores more than a threshold, a number or the name of a `number` parameter, in the score's unit.
 * How many stay is open, so the cache has no bound, and a ratio has nothing to set.
 * @example
 * keep: above(0.001)
 */
export const above = (threshold) => ({ kind: 'above', threshold });
/**
 * Keep whole chunks of `size` consecutive positions, best mean score first, until one does not fit into `budget` slots. The
 * window's slots count towards it, unless `{ besides: 'protected' }` lets them stay in addition.
 * @example
 * keep: chunks(16, 'budget')
 */
export const chunks = (size, budget, counting = {}) => ({
    kind: 'chunks',
    size,
    budget,
    ...counting,
});
/**
 * Keep everything: no policy.
 * @example
 * keep: everything
 */
export const everything = {
    /** Which rule this is. */
    kind: 'all',
};
export function profile(reach, of, rules) {
    return { kind: 'profile', reach, of, rules };
}
/**
 * After the prompt's last token, once; what is generated then stays.
 * @example
 * when: promptEnd
 */
export const promptEnd = { kind: 'promptEnd' };
/**
 * At the prompt's end and after every n generated tokens, a whole number from 1. `'auto'` takes n from the ratio r, or 0.8
 * without one, so that each compaction keeps that part of what is live: n = budget · (1 − r) / r.
 * @example
 * when: every(16)
 */
export const every = (n) => ({ kind: 'every', n });
/**
 * At the prompt's end and after a generated token, when more than budget + slack slots are live; slack is whole slots
 * from 0, or the name of a `tokens` parameter.
 * @example
 * when: over(16)
 */
export const over = (slack) => ({ kind: 'over', slack });
export function promptChunk(n = 128) {
    return { kind: 'promptChunk', tokens: n };
}
/**
 * The mean of `width` neighbouring scores, an odd number of slots; places beyond the ends count as 0.
 * @example
 * pool: mean(5)
 */
export const mean = (width) => ({ kind: 'mean', width });
/**
 * The highest of `width` neighbouring scores, an odd number of slots; places beyond the ends do not count.
 * @example
 * pool: peak(7)
 */
export const peak = (width) => ({ kind: 'max', width });
/**
 * Budgets flow between the KV heads of a layer (Ada-KV). Of a number alpha, 0 … 1, that part of each head's budget stays its
 * own, and the rest is how many slots it has among the best of the layer. Of `{ guaranteed }` each head's best slots stay
 * up to that part, and all others of the layer compete for what is left.
 * @example
 * heads: pooled({ guaranteed: 0.2 })
 */
export const pooled = (own) => typeof own === 'number'
    ? { kind: 'pooled', alpha: own }
    : { kind: 'pooled', alpha: own.guaranteed, guaranteed: true };
/**
 * Budgets fall from the first layer to the last (PyramidKV), or rise (Scissorhands), around the policy's budget, which stays
 * their mean. The last layer gets the part 1 / beta of it; beta is a number above 0.5, from 1 on they fall.
 * @example
 * layers: pyramid(20)
 */
export const pyramid = (beta) => ({ kind: 'pyramid', beta });
