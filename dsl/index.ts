/** What a policy author imports from 'skv'. */
export * from './math.ts';
export * from './policy.ts';
export type { Slot, Vec } from './slot.ts';
