/** Text → the words in which tokens merge, by a row of cuts.ts. */
import { type Cut, cuts } from './cuts.ts';

/** What llama.cpp takes for white space: U+0085 is, and U+FEFF is not, other than in JavaScript. */
const SPACE = '[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';

const compile = (pattern: string): RegExp =>
  new RegExp(pattern.replaceAll('\\s', SPACE).replaceAll('\\S', `[^${SPACE.slice(1)}`), 'gv');

/** The row of a pre-tokenizer's name; undefined: nobody knows it. */
export const cutOf = (name: string): Cut | undefined => cuts.find(({ names }) => names.includes(name));

/** Every name that tokenizer.ggml.pre may have. */
export const cutNames = (): string[] => cuts.flatMap(({ names }) => names);

/** Its words make up the text. */
export function cutter({ patterns }: Cut): (text: string) => string[] {
  const compiled = patterns.map(compile);
  return (text) =>
    compiled.reduce((pieces, pattern) => pieces.flatMap((piece) => matchesAndGaps(piece, pattern)), [text]);
}

function matchesAndGaps(text: string, pattern: RegExp): string[] {
  const parts: string[] = [];
  let done = 0;
  for (const { index, 0: match } of text.matchAll(pattern)) {
    if (index > done) parts.push(text.slice(done, index));
    if (match) parts.push(match);
    done = index + match.length;
  }
  if (done < text.length) parts.push(text.slice(done));
  return parts;
}
