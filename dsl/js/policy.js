/**
 * A policy: what is seen of attention, what it is worth, what stays. The compiler reads the object's text, so it is written
 * in place; its functions are ordinary JavaScript as well, the top rung of the ladder that checks the generated code.
 * @example
 * import { definePolicy, every, tokens, topK } from 'skv';
 *
 * export default definePolicy({
 *   name: 'heavy-hitters',
 *   params: { budget: tokens(512), recent: tokens(128) },
 *   observe: 'every',
 *   accumulate: { mass: { init: 0, next: (mass, slot) => mass + slot.attn } },
 *   score: (slot) => slot.mass,
 *   window: { last: 'recent' },
 *   keep: topK('budget'),
 *   when: every(1),
 * });
 */
export function definePolicy(spec) {
    return spec;
}
