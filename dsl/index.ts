/** What a policy author imports from 'skv'. */
export * from './math.ts';
export * from './params.ts';
export * from './policy.ts';
export * from './rules.ts';
export type { NewSlot, Slot, Vec } from './slot.ts';
