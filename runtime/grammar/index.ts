/** What the server uses of this room. */
export { GrammarError, Rules, either, literal, repeated, sequence } from './ebnf.ts';
export { fromRegex } from './regex.ts';
export { schemaIn } from './json-schema.ts';
export { type Follow, type Grammar, Matchers, type Vocabulary } from './matchers.ts';
