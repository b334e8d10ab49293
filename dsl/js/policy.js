/** A number of tokens. */
export const tokens = (count, range = {}) => ({
    kind: 'tokens',
    default: count,
    min: range.min ?? 0,
    max: range.max ?? 1048576,
});
/** A fraction of the sequence's logical length so far. */
export const fraction = (ratio, range = {}) => ({
    kind: 'fraction',
    default: ratio,
    min: range.min ?? 0,
    max: range.max ?? 1,
});
/** A plain number, for expressions. */
export const number = (value, range = {}) => ({
    kind: 'number',
    default: value,
    min: range.min ?? -3.4e38,
    max: range.max ?? 3.4e38,
});
export const topK = (budget) => ({ kind: 'topK', budget });
export const above = (threshold) => ({ kind: 'above', threshold });
export const chunks = (size, budget) => ({
    kind: 'chunks',
    size,
    budget,
});
/** Keep everything. */
export const everything = { kind: 'all' };
/** After the prompt's last token. */
export const promptEnd = { kind: 'promptEnd' };
/** At the prompt's end and after every n generated tokens; 'auto' takes n from the compression ratio. */
export const every = (n) => ({ kind: 'every', n });
/** At the prompt's end and after a generated token, when more than budget + slack slots are live. */
export const over = (slack) => ({ kind: 'over', slack });
/** After each n prompt tokens and at the prompt's end, whatever chunks the scheduler chose. */
export const promptChunk = (n = 128) => ({ kind: 'promptChunk', n });
/** The mean of `width` neighbouring scores; places beyond the ends count as 0. */
export const mean = (width) => ({ kind: 'mean', width });
/** The highest of `width` neighbouring scores; places beyond the ends do not count. */
export const peak = (width) => ({ kind: 'max', width });
/** Budgets flow between the KV heads of a layer (Ada-KV); alpha of each head's budget is its own floor. */
export const pooled = (alpha) => ({ kind: 'pooled', alpha });
/** Budgets fall from the first layer to the last (PyramidKV). */
export const pyramid = (beta) => ({ kind: 'pyramid', beta });
/** A policy. Its functions are ordinary JavaScript: the top rung of the ladder that checks the generated code. */
export function definePolicy(spec) {
    return spec;
}
