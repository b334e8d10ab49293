/** What a policy author imports from 'skv'. */
export * from "./math.js";
export * from "./policy.js";
