/** Plain text → token numbers, by byte pair encoding and by SentencePiece's variant of it. */
import { inAlphabet } from './alphabet.ts';
import { cutter } from './cut.ts';
import type { Cut } from './cuts.ts';
import { merge } from './merge.ts';

/** Adds the tokens of a text to `out`. */
export type Encoder = (text: string, out: number[]) => void;

/** Words whose tokens are remembered; a text repeats few of them often. */
const REMEMBERED = 1 << 16;
/** Longer words are not remembered: they seldom come again. */
const LONG = 64;

/** Text of tokens → number; control tokens are not among them, so that no text turns into one. */
export type Numbers = ReadonlyMap<string, number>;

const MARK = '▁';
const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
const utf8 = new TextEncoder();

/** Byte pair encoding: a text is cut into words, and in a word the pair that `merges` lists first merges first. */
export function bytePairs(row: Cut, ids: Numbers, merges: readonly string[]): Encoder {
  const ranks = new Map<string, number>();
  merges.forEach((pair, rank) => {
    if (!ranks.has(pair)) ranks.set(pair, rank);
  });
  const cut = cutter(row);
  const whole = (word: string) => row.wholeWords || (row.emptyLines && /^\n+$/.test(word));
  const tokensOf = (word: string): number[] => {
    const written = row.marked ? word : inAlphabet(word);
    const token = whole(word) ? ids.get(written) : undefined;
    if (token !== undefined) return [token];
    const parts = cutAt(
      written,
      merge(written, (start, middle, end) =>
        ranks.get(`${written.slice(start, middle)} ${written.slice(middle, end)}`),
      ),
    );
    return parts.flatMap((part) => ids.get(part) ?? (row.marked ? bytesOf(part) : charactersOf(part)));
  };
  // what merges made and no token has: its characters, those without a token left out
  const charactersOf = (part: string) => [...part].flatMap((character) => ids.get(character) ?? []);
  const bytesOf = (part: string) => Array.from(utf8.encode(part), (byte) => ids.get(hex(byte)) ?? []).flat();
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

function cutAt(text: string, ends: readonly number[]): string[] {
  return ends.map((end, i) => text.slice(i === 0 ? 0 : ends[i - 1], end));
}

/** SentencePiece: ▁ for spaces; of all pairs that are a token together, the one that scores highest merges first. */
export function scoredPairs(ids: Numbers, scores: Float32Array, unknown: number | undefined): Encoder {
  const cut = beforeMarks(ids);
  const tokensOf = (word: string): number[] => {
    const ends = merge(word, (start, _, end) => {
      const token = ids.get(word.slice(start, end));
      return token === undefined ? undefined : -scores[token];
    });
    return cutAt(word, ends).flatMap(
      (part) => ids.get(part) ?? Array.from(utf8.encode(part), (byte) => byteToken(ids, byte) ?? unknown ?? []).flat(),
    );
  };
  const remembered = remember(tokensOf);
  return (text, out) => {
    for (const word of cut(text.replaceAll(' ', MARK))) for (const token of remembered(word)) out.push(token);
  };
}

/** Cuts a text before each ▁ that no token has after the same character: nothing merges across, so words merge apart. */
function beforeMarks(ids: Numbers): (text: string) => string[] {
  const joined = new Set<string>();
  for (const text of ids.keys())
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

const byteToken = (ids: Numbers, byte: number): number | undefined =>
  ids.get(hex(byte)) ?? (byte < 128 ? ids.get(String.fromCharCode(byte)) : undefined);
