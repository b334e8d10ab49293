/** Rules as helpers make them: what stays (keep), when to compact, how scores are pooled and budgets flow. */
/** What a budget counts. */
export interface Counting {
    /**
     * `'protected'`: the window's slots are kept besides the budget, which counts the others alone. For windows whose size
     * depends on the request, such as a whole prompt.
     * @default the window's slots count: the budget is what a head keeps in all
     */
    readonly besides?: 'protected';
}
/** Keep the highest scores, as `topK` makes it. */
export interface TopK<N> extends Counting {
    /** Which rule this is. */
    readonly kind: 'topK';
    /** Slots of each KV head: a whole number from 1, or the name of a `tokens` or `fraction` parameter. */
    readonly budget: N;
}
/**
 * Keep the highest scores, `budget` slots of each KV head. The window's slots count towards it, unless
 * `{ besides: 'protected' }` lets them stay in addition. A ratio (`--ratio`, `sparse_kv.ratio`) stands in for the budget.
 * @example
 * keep: topK('budget', { besides: 'protected' })
 */
export declare const topK: <const N extends string | number>(budget: N, counting?: Counting) => TopK<N>;
/** Keep by a threshold, as `above` makes it. */
export interface Above<N> {
    /** Which rule this is. */
    readonly kind: 'above';
    /** What a score must exceed: a number, or the name of a `number` parameter. */
    readonly threshold: N;
}
/**
 * Keep every slot that scores more than a threshold, a number or the name of a `number` parameter, in the score's unit.
 * How many stay is open, so the cache has no bound, and a ratio has nothing to set.
 * @example
 * keep: above(0.001)
 */
export declare const above: <const N extends string | number>(threshold: N) => Above<N>;
/** Keep whole chunks, as `chunks` makes it. */
export interface Chunks<N> extends Counting {
    /** Which rule this is. */
    readonly kind: 'chunks';
    /** Positions of a chunk: a whole number, 1 … 65,536. */
    readonly size: number;
    /** Slots of each KV head: a whole number from 1, or the name of a `tokens` or `fraction` parameter. */
    readonly budget: N;
}
/**
 * Keep whole chunks of `size` consecutive positions, best mean score first, until one does not fit into `budget` slots. The
 * window's slots count towards it, unless `{ besides: 'protected' }` lets them stay in addition.
 * @example
 * keep: chunks(16, 'budget')
 */
export declare const chunks: <const N extends string | number>(size: number, budget: N, counting?: Counting) => Chunks<N>;
/**
 * Keep everything: no policy.
 * @example
 * keep: everything
 */
export declare const everything: {
    /** Which rule this is. */
    readonly kind: "all";
};
/** One of the rules of a profile: which slots stay besides the window's. */
export interface ProfileRule<Size> {
    /**
     * Tokens of these classes, of the prompt and generated: `'special'` (`<|im_end|>` …), `'punctuation'` alone.
     * @default []
     */
    readonly classes?: readonly ('special' | 'punctuation')[];
    /**
     * So many of the slots that nothing else keeps, the highest scores: whole slots from 0, or the name of a `tokens` or
     * `fraction` parameter.
     * @default 0
     */
    readonly top?: Size;
    /**
     * The most recent positions: whole slots from 0, or the name of a `tokens` or `fraction` parameter.
     * @default 0
     */
    readonly last?: Size;
}
/** A rule of its own for each head, as `profile` makes it. */
export interface Profile<Level, State, Size> {
    /** Which rule this is. */
    readonly kind: 'profile';
    /** The part of the attention that a rule must keep: 0 … 1, or the name of a `number` parameter of that range. */
    readonly reach: Level;
    /** The state that is a slot's attention. */
    readonly of: State;
    /** From the cheapest to everything; each keeps what the one before keeps. */
    readonly rules: readonly (ProfileRule<Size> | typeof everything)[];
}
/**
 * At the prompt's end each head takes the first rule whose slots hold the part `reach` of the sum of a state over all of its
 * slots, and keeps that rule while it generates. 1 takes everything, 0 the first rule. The last rule is `everything`.
 * @example
 * keep: profile(0.95, 'mass', [{ classes: ['special'] }, { classes: ['special'], top: 64, last: 32 }, everything])
 */
export declare function profile<const Level extends string | number, const State extends string, const N extends string = never>(reach: Level, of: State, rules: readonly (ProfileRule<number | N> | typeof everything)[]): Profile<Level, State, number | (string extends N ? never : N)>;
/** A trigger by slots over the budget, as `over` makes it. */
export interface Over<Count> {
    /** Which trigger this is. */
    readonly kind: 'over';
    /** How many more: whole slots from 0, or the name of a `tokens` parameter. */
    readonly slack: Count;
}
/** A trigger by tokens of the prompt, as `promptChunk` makes it. */
export interface PromptChunk<Count> {
    /** Which trigger this is. */
    readonly kind: 'promptChunk';
    /** Prompt tokens between two compactions: a whole number from 16, or the name of a `tokens` parameter that is never less. */
    readonly tokens: Count;
}
/**
 * When to compact; one, or several in a list.
 * @example
 * when: [promptChunk(128), every(16)]
 */
export type Trigger<Count = number> = {
    /** After the prompt's last token. */
    readonly kind: 'promptEnd';
} | {
    /** At the prompt's end and after every n generated tokens. */
    readonly kind: 'every';
    /** Generated tokens between two compactions: a whole number from 1, or `'auto'`, from the ratio. */
    readonly n: number | 'auto';
} | Over<Count> | PromptChunk<Count>;
/**
 * After the prompt's last token, once; what is generated then stays.
 * @example
 * when: promptEnd
 */
export declare const promptEnd: Trigger;
/**
 * At the prompt's end and after every n generated tokens, a whole number from 1. `'auto'` takes n from the ratio r, or 0.8
 * without one, so that each compaction keeps that part of what is live: n = budget · (1 − r) / r.
 * @example
 * when: every(16)
 */
export declare const every: (n: number | "auto") => Trigger;
/**
 * At the prompt's end and after a generated token, when more than budget + slack slots are live; slack is whole slots
 * from 0, or the name of a `tokens` parameter.
 * @example
 * when: over(16)
 */
export declare const over: <const N extends string | number>(slack: N) => Over<N>;
/**
 * After each n prompt tokens, a whole number from 16 or the name of a `tokens` parameter that is never less, by default 128,
 * and at the prompt's end, whatever chunks the scheduler chose.
 * @example
 * when: promptChunk(256)
 */
export declare function promptChunk(): PromptChunk<number>;
export declare function promptChunk<const N extends string | number>(n: N): PromptChunk<N>;
/** How scores of neighbouring slots become one, as `mean` or `peak` makes it. */
export interface PoolRule {
    /** The mean or the maximum. */
    readonly kind: 'mean' | 'max';
    /** Neighbours that count, the slot itself included: an odd whole number. */
    readonly width: number;
}
/**
 * The mean of `width` neighbouring scores, an odd number of slots; places beyond the ends count as 0.
 * @example
 * pool: mean(5)
 */
export declare const mean: (width: number) => PoolRule;
/**
 * The highest of `width` neighbouring scores, an odd number of slots; places beyond the ends do not count.
 * @example
 * pool: peak(7)
 */
export declare const peak: (width: number) => PoolRule;
/** Budgets that flow between heads, as `pooled` makes them. */
export interface PooledRule {
    /** Which rule this is. */
    readonly kind: 'pooled';
    /** The part of each head's budget that stays its own: 0 … 1. */
    readonly alpha: number;
    /** The part is guaranteed, and the layer's best slots share the rest; absent: it is mixed with what a head has won. */
    readonly guaranteed?: true;
}
/** A part that is guaranteed, for `pooled`. */
export interface Guaranteed {
    /** The part of each head's budget, the window's slots included: 0 … 1. */
    readonly guaranteed: number;
}
/**
 * Budgets flow between the KV heads of a layer (Ada-KV). Of a number alpha, 0 … 1, that part of each head's budget stays its
 * own, and the rest is how many slots it has among the best of the layer. Of `{ guaranteed }` each head's best slots stay
 * up to that part, and all others of the layer compete for what is left.
 * @example
 * heads: pooled({ guaranteed: 0.2 })
 */
export declare const pooled: (own: number | Guaranteed) => PooledRule;
/** Budgets that fall, or rise, by layer, as `pyramid` makes them. */
export interface PyramidRule {
    /** Which rule this is. */
    readonly kind: 'pyramid';
    /** The budget over the last layer's: a number above 0.5. */
    readonly beta: number;
}
/**
 * Budgets fall from the first layer to the last (PyramidKV), or rise (Scissorhands), around the policy's budget, which stays
 * their mean. The last layer gets the part 1 / beta of it; beta is a number above 0.5, from 1 on they fall.
 * @example
 * layers: pyramid(20)
 */
export declare const pyramid: (beta: number) => PyramidRule;
