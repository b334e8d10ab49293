/** Plain text → token numbers by Unigram: of all ways to write a text with tokens, the one whose scores sum highest. */
import type { Encoder } from './encoders.ts';
import { ModelError } from './types.ts';

export interface UnigramParts {
  /** tokens that text may become: number, text, and score (0 for user-defined ones) */
  readonly tokens: readonly { readonly id: number; readonly text: string; readonly score: number }[];
  readonly unknown: number;
  /** of a character that no token begins with */
  readonly unknownScore: number;
  readonly spacePrefix: boolean;
  /** runs of spaces count as one, and those at the ends as none */
  readonly mergesSpaces: boolean;
  readonly normalise: (text: string) => string;
}

interface Branch {
  token?: { readonly id: number; readonly score: number };
  readonly next: Map<number, Branch>;
}

function trieOf(tokens: UnigramParts['tokens']): Branch {
  const root: Branch = { next: new Map() };
  for (const { id, text, score } of tokens) {
    let branch = root;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      const next = branch.next.get(code) ?? { next: new Map() };
      branch.next.set(code, next);
      branch = next;
    }
    branch.token = { id, score };
  }
  return root;
}

/** ▁ for each space that stays. */
function marked(text: string, { spacePrefix, mergesSpaces }: UnigramParts): string {
  let out = '';
  let prefixed = !spacePrefix;
  let inWord = false;
  for (const character of text) {
    if (character !== ' ' && !inWord) {
      if (!prefixed || mergesSpaces) out += '▁';
      prefixed = true;
    }
    inWord = character !== ' ';
    out += inWord ? character : mergesSpaces ? '' : '▁';
  }
  return out;
}

export function unigram(parts: UnigramParts): Encoder {
  const trie = trieOf(parts.tokens);
  return (text, out) => {
    const written = marked(parts.normalise(text), parts);
    const ids = best(written, trie, parts);
    // what is unknown is one token, however long
    ids.forEach((id, i) => {
      if (id !== parts.unknown || ids[i - 1] !== parts.unknown) out.push(id);
    });
  };
}

/** Viterbi over the characters: for each place the best way to it, then back from the end. */
function best(text: string, trie: Branch, { unknown, unknownScore }: UnigramParts): number[] {
  const sums = new Float64Array(text.length + 1).fill(-Number.MAX_VALUE);
  const ids = new Int32Array(text.length + 1);
  const froms = new Int32Array(text.length + 1);
  sums[0] = 0;
  const offer = (from: number, to: number, id: number, score: number) => {
    const sum = sums[from] + score;
    if (sum <= sums[to]) return;
    sums[to] = sum;
    ids[to] = id;
    froms[to] = from;
  };
  for (let from = 0; from < text.length; ) {
    const next = from + (text.codePointAt(from)! > 0xffff ? 2 : 1);
    let single = false;
    let branch = trie.next.get(text.charCodeAt(from));
    for (let to = from + 1; branch; to++) {
      if (branch.token) {
        single ||= to === next;
        offer(from, to, branch.token.id, branch.token.score);
      }
      branch = branch.next.get(text.charCodeAt(to)); // NaN, past the end, is no key
    }
    if (!single) offer(from, next, unknown, unknownScore);
    from = next;
  }
  const path: number[] = [];
  for (let at = text.length; at > 0; at = froms[at]) path.push(ids[at]);
  return path.reverse();
}

/**
 * SentencePiece's table of replacements: a length, a double array of 32-bit units that spells the UTF-8 of what is
 * replaced (low 8 bits: the byte; bit 8: an end, whose own unit holds a place; bits 10 on: where its children are), then
 * the replacements, each ended by a zero. The longest match wins.
 */
export function replacer(table: Uint8Array, where: string): (text: string) => string {
  const damaged = () => new ModelError(`${where}: tokenizer.ggml.precompiled_charsmap is damaged.`);
  const view = new DataView(table.buffer, table.byteOffset, table.length);
  const size = table.length < 4 ? 0 : view.getUint32(0, true);
  if (size % 4 !== 0 || size + 4 >= table.length) throw damaged();
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = table.subarray(4 + size);
  const unit = (at: number) => {
    if (at >= units.length) throw damaged();
    return units[at];
  };
  const children = (of: number) => (of >>> 10) << ((of & 0x200) >>> 6);
  const [encoder, decoder] = [new TextEncoder(), new TextDecoder('utf-8', { ignoreBOM: true })];
  return (text) => {
    const bytes = encoder.encode(text);
    const out: number[] = [];
    for (let start = 0; start < bytes.length; ) {
      let length = 0;
      let place = 0;
      let node = children(unit(0));
      for (let at = start; at < bytes.length && bytes[at] !== 0; at++) {
        node ^= bytes[at];
        const found = unit(node);
        if ((found & 0x800000ff) >>> 0 !== bytes[at]) break;
        node ^= children(found);
        if (!(found & 0x100)) continue;
        length = at - start + 1;
        place = unit(node) & 0x7fffffff;
      }
      const end = length ? replacements.indexOf(0, place) : 0;
      if (end < 0) throw damaged();
      const whole = bytes[start] < 0x80 ? 1 : bytes[start] < 0xe0 ? 2 : bytes[start] < 0xf0 ? 3 : 4;
      const piece = length ? replacements.subarray(place, end) : bytes.subarray(start, start + whole);
      for (const byte of piece) out.push(byte);
      start += length || whole;
    }
    return decoder.decode(Uint8Array.from(out));
  };
}
