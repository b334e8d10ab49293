/** What a policy's functions may read. Reading a field is what makes the compiler produce it. */
declare const vector: unique symbol;
/** A vector of head_dim numbers: a key or a value. Combine vectors with `dot`, `norm`, `cosine`, `scale`, `add` … */
export interface Vec {
    readonly [vector]: 'head_dim numbers';
}
/** One cached token of one layer and KV head, as a query sees it. Numbers are IEEE f32. */
export interface Slot {
    /** softmax probability the query gives this slot, reduced over the group's query heads. Only in `next`. */
    readonly attn: number;
    /** logical position of the token, from 0 */
    readonly pos: number;
    /** query position - pos */
    readonly age: number;
    /** observed queries that could see the slot, this one included */
    readonly seen: number;
    /** live slots of this head */
    readonly live: number;
    /** logical length of the sequence */
    readonly length: number;
    /** layer, from 0, and how many there are */
    readonly layer: number;
    readonly layers: number;
    /** KV head, from 0, and how many a layer has */
    readonly head: number;
    readonly heads: number;
    /** the key after RoPE at its logical position, and the value */
    readonly key: Vec;
    readonly value: Vec;
    /** the token is special (<|im_end|> …), or only punctuation */
    readonly special: boolean;
    readonly punctuation: boolean;
}
export {};
