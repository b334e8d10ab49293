import { definePolicy, everything } from 'skv';

/** Keeps every token: the baseline, generated through the same path as the others. */
export default definePolicy({ name: 'none', keep: everything });
