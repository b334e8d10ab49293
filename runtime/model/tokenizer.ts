/** A tokenizer: how text is encoded, the bytes of each token and its class. */
import { TokenClass } from '../contract/records.ts';
import { byteOfCharacter } from './alphabet.ts';
import type { Spelling } from './spelling.ts';
import type { TextList } from './texts.ts';
import type { Detokenizer, LoadedModel, Tokenizer } from './types.ts';

/** What a token is, as files say it. */
export const TokenKind = { text: 0, special: 1, userDefined: 2, byte: 3, unused: 4 } as const;

export interface TokenizerSource {
  /** Token numbers of text, nothing put around it. `special`: text like <|im_end|> becomes its token. */
  encode(text: string, special: boolean): number[];
  /** what `encode` does, for another thread; without it that has to load the model */
  spelling?(): Spelling;
  readonly tokens: TextList;
  /** [vocab] a TokenKind */
  readonly kinds: Uint8Array;
  /** how a token's text stands for bytes: in GPT-2's alphabet, or as it is with ▁ for a space */
  readonly style: 'byte-level' | 'spm';
  readonly bos?: number;
  readonly eosTokens: readonly number[];
  readonly addBos: boolean;
  /** the token that a prompt ends with, where the file asks for one */
  readonly last?: number;
  /** a space is put before the text */
  readonly spacePrefix: boolean;
}

const encoder = new TextEncoder();

/** The bytes a token stands for; none for special tokens. */
function bytesOf(text: string, kind: number, style: TokenizerSource['style']): Uint8Array {
  if (kind === TokenKind.special || kind === TokenKind.unused) return new Uint8Array(0);
  if (kind === TokenKind.userDefined) return encoder.encode(text);
  if (kind === TokenKind.byte) return Uint8Array.of(Number.parseInt(text.slice(3, 5), 16));
  if (style === 'spm') return encoder.encode(text.replaceAll('▁', ' '));
  const bytes: number[] = [];
  for (const character of text) {
    const byte = byteOfCharacter.get(character);
    if (byte === undefined) bytes.push(...encoder.encode(character));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

const concat = (parts: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

type TextTokenizer = Tokenizer & Pick<LoadedModel, 'detokenizer'>;

/** Text → tokens, and those that its file puts around it. */
export const encodeOf =
  ({ encode, bos, addBos, last }: Pick<TokenizerSource, 'encode' | 'bos' | 'addBos' | 'last'>): Tokenizer['encode'] =>
  (text, options = {}) => {
    const ids = encode(text.replace(/\p{Cs}/gu, '\ufffd'), options.special ?? false); // half of a character is no text
    const asked = options.addBos ?? false;
    const first = asked && addBos && bos !== undefined && ids[0] !== bos ? [bos] : [];
    return Int32Array.from([...first, ...ids, ...(asked && last !== undefined ? [last] : [])]);
  };

export function makeTokenizer(source: TokenizerSource): TextTokenizer {
  const bytes = (token: number): Uint8Array =>
    token >= 0 && token < source.tokens.length
      ? bytesOf(source.tokens.at(token)!, source.kinds[token], source.style)
      : new Uint8Array(0);
  /** a special token as its file writes it */
  const written = (token: number): Uint8Array =>
    source.kinds[token] === TokenKind.special ? encoder.encode(source.tokens.at(token)) : bytes(token);
  const eos = [...source.eosTokens];
  let classes: Uint8Array | undefined;
  return {
    vocab: source.tokens.length,
    bos: source.bos,
    eos,
    encode: encodeOf(source),
    get spelling() {
      const { bos, addBos, last } = source;
      const spelling = source.spelling?.();
      return spelling && { ...spelling, bos, addBos, last };
    },
    decode(tokens, options = {}) {
      const parts = Array.from(tokens, options.skipSpecial ? bytes : written);
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(concat(parts));
      return source.spacePrefix && text.startsWith(' ') ? text.slice(1) : text;
    },
    bytes,
    get classes() {
      return (classes ??= classesOf(source));
    },
    detokenizer: ({ special = false } = {}) => detokenizerOf(special ? written : bytes),
  };
}

/** [vocab] bits of TokenClass. */
const classesOf = ({ tokens, kinds, style }: TokenizerSource): Uint8Array =>
  Uint8Array.from({ length: tokens.length }, (_, token) => {
    if (kinds[token] === TokenKind.special) return TokenClass.special;
    const shown = new TextDecoder().decode(bytesOf(tokens.at(token)!, kinds[token], style)).trim();
    // signs of maths, money and marks, but no pictures: nor what stands for half a character
    return /^[\p{P}\p{Sm}\p{Sc}\p{Sk}]+$/u.test(shown) ? TokenClass.punctuation : 0;
  });

/** Text that goes on from a prompt, so its first space is text; a character comes once its bytes are whole. */
function detokenizerOf(bytes: (token: number) => Uint8Array): Detokenizer {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  return { push: (token) => decoder.decode(bytes(token), { stream: true }), end: () => decoder.decode() };
}
