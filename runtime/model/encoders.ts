/** Plain text → token numbers, by byte pair encoding and by SentencePiece's variant of it. */
import { inAlphabet } from './alphabet.ts';
import { cutter } from './cut.ts';
import type { Cut } from './cuts.ts';
import { merge } from './merge.ts';
import type { TextIndex } from './texts.ts';

/** Adds the tokens of a text to `out`. */
export type Encoder = (text: string, out: number[]) => void;

/** Words whose tokens are remembered; a text repeats few of them often. */
const REMEMBERED = 1 << 16;
/** Longer words are not remembered: they seldom come again. */
const LONG = 64;

const MARK = '▁';
const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
const utf8 = new TextEncoder();

/**
 * Byte pair encoding: a text is cut into words, and in a word the pair that `merges` lists first merges first. `ids`: of
 * tokens without control tokens, so that no text turns into one.
 */
export function bytePairs(row: Cut, ids: TextIndex, merges: TextIndex): Encoder {
  const cut = cutter(row);
  const whole = (word: string) => row.wholeWords || (row.emptyLines && /^\n+$/.test(word));
  const tokensOf = (word: string): number[] => {
    const written = row.marked ? word : inAlphabet(word);
    const token = whole(word) ? ids.find(written) : undefined;
    if (token !== undefined) return [token];
    const ends = merge(written, (start, middle, end) => merges.find(written, start, end, middle));
    return tokensAt(ids, written, ends, row.marked ? bytesOf : charactersOf);
  };
  // what merges made and no token has: its characters, those without a token left out
  const charactersOf = (part: string) => [...part].flatMap((character) => ids.find(character) ?? []);
  const bytesOf = (part: string) => Array.from(utf8.encode(part), (byte) => ids.find(hex(byte)) ?? []).flat();
  const remembered = remember(tokensOf);
  return (text, out) => {
    const words = cut(row.marked ? text.replaceAll(' ', MARK) : text);
    for (const word of words) for (const token of remembered(word)) out.push(token);
  };
}

function remember(tokensOf: (word: string) => number[]): (word: string) => number[] {
  const known = new Map<string, number[]>();
  return (word) => {
    const before = known.get(word);
    if (before) return before;
    const tokens = tokensOf(word);
    if (known.size >= REMEMBERED) known.clear();
    if (word.length <= LONG) known.set(word, tokens);
    return tokens;
  };
}

/** Tokens of the parts of a text; `others`: of a part that is none. */
function tokensAt(ids: TextIndex, text: string, ends: readonly number[], others: (part: string) => number[]): number[] {
  return ends.flatMap((end, i) => {
    const start = i === 0 ? 0 : ends[i - 1];
    return ids.find(text, start, end) ?? others(text.slice(start, end));
  });
}

/** SentencePiece: ▁ for spaces; of all pairs that are a token together, the one that scores highest merges first. */
export function scoredPairs(ids: TextIndex, scores: Float32Array, unknown: number | undefined): Encoder {
  const cut = beforeMarks(ids);
  const tokensOf = (word: string): number[] => {
    const ends = merge(word, (start, _, end) => {
      const token = ids.find(word, start, end);
      return token === undefined ? undefined : -scores[token];
    });
    const bytesOf = (part: string) =>
      Array.from(utf8.encode(part), (byte) => byteToken(ids, byte) ?? unknown ?? []).flat();
    return tokensAt(ids, word, ends, bytesOf);
  };
  const remembered = remember(tokensOf);
  return (text, out) => {
    for (const word of cut(text.replaceAll(' ', MARK))) for (const token of remembered(word)) out.push(token);
  };
}

/** Cuts a text before each ▁ that no token has after the same character: nothing merges across, so words merge apart. */
function beforeMarks(ids: TextIndex): (text: string) => string[] {
  const joined = new Set<string>();
  for (const text of ids)
    for (let at = text.indexOf(MARK, 1); at > 0; at = text.indexOf(MARK, at + 1)) joined.add(text[at - 1]);
  return (text) => {
    const words: string[] = [];
    let start = 0;
    for (let at = text.indexOf(MARK, 1); at > 0; at = text.indexOf(MARK, at + 1)) {
      if (joined.has(text[at - 1])) continue;
      words.push(text.slice(start, at));
      start = at;
    }
    words.push(text.slice(start));
    return words;
  };
}

const byteToken = (ids: TextIndex, byte: number): number | undefined =>
  ids.find(hex(byte)) ?? (byte < 128 ? ids.find(String.fromCharCode(byte)) : undefined);
