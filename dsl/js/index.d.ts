/** What a policy author imports from 'skv'. */
export * from './math.js';
export * from './params.js';
export * from './policy.js';
export * from './rules.js';
export type { NewSlot, Slot, Vec } from './slot.js';
