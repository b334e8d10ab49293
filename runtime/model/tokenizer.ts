/** A tokenizer over @huggingface/tokenizers, with the bytes of each token and its class. */
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { TokenClass } from '../contract/records.ts';
import type { Detokenizer, Tokenizer } from './types.ts';

export interface TokenizerSource {
  readonly tokenizer: Record<string, unknown>;
  readonly config: Record<string, unknown>;
  readonly tokens: readonly string[];
  readonly kinds: Uint8Array;
  readonly style: 'byte-level' | 'spm';
  readonly bos?: number;
  readonly eosTokens: readonly number[];
  readonly addBos: boolean;
  readonly spacePrefix: boolean;
}

/** GPT-2's alphabet: printable characters stand for themselves, the other bytes for characters from 256 on. */
const byteOfCharacter = ((): Map<string, number> => {
  const map = new Map<string, number>();
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
    map.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return map;
})();

const encoder = new TextEncoder();

/** The bytes a token stands for; none for special tokens. */
function bytesOf(text: string, kind: number, style: TokenizerSource['style']): Uint8Array {
  if (kind === 1) return new Uint8Array(0);
  if (kind === 2) return encoder.encode(text);
  if (style === 'spm') {
    const byte = text.match(/^<0x([0-9A-Fa-f]{2})>$/);
    return byte ? Uint8Array.of(Number.parseInt(byte[1], 16)) : encoder.encode(text.replaceAll('▁', ' '));
  }
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

export function makeTokenizer(source: TokenizerSource): Tokenizer & { detokenizer(): Detokenizer } {
  // each takes tens of milliseconds and megabytes: built when first needed, and the second seldom is
  let whole: Library | undefined;
  const wholly = () => (whole ??= new Library(source.tokenizer, source.config));
  // without special tokens in the way, text like <|im_end|> is ordinary text
  let plain: Library | undefined;
  const added = (source.tokenizer.added_tokens ?? []) as { content: string; special: boolean }[];
  const plainly = () =>
    (plain ??= new Library(
      { ...source.tokenizer, added_tokens: added.filter((token) => !token.special) },
      source.config,
    ));
  const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const specials = added.filter((token) => token.special && token.content).map((token) => literal(token.content));
  const special = specials.length ? new RegExp(specials.join('|')) : /(?!)/;
  const bytes = (token: number): Uint8Array =>
    token >= 0 && token < source.tokens.length
      ? bytesOf(source.tokens[token], source.kinds[token], source.style)
      : new Uint8Array(0);
  const eos = [...source.eosTokens];
  let classes: Uint8Array | undefined;
  return {
    vocab: source.tokens.length,
    bos: source.bos,
    eos,
    encode(text, options = {}) {
      const ids =
        text === ''
          ? []
          : ((options.special || !special.test(text) ? wholly() : plainly()).encode(text, { add_special_tokens: false })
              .ids as number[]);
      const bos =
        (options.addBos ?? false) && source.addBos && source.bos !== undefined && ids[0] !== source.bos
          ? [source.bos]
          : [];
      return Int32Array.from([...bos, ...ids]);
    },
    decode(tokens, options = {}) {
      const parts = Array.from(tokens, (token) =>
        !options.skipSpecial && source.kinds[token] === 1 ? encoder.encode(source.tokens[token]) : bytes(token),
      );
      const text = new TextDecoder().decode(concat(parts));
      return source.spacePrefix && text.startsWith(' ') ? text.slice(1) : text;
    },
    bytes,
    get classes() {
      return (classes ??= classesOf(source));
    },
    detokenizer: () => detokenizerOf(bytes, source.spacePrefix),
  };
}

/** [vocab] bits of TokenClass. */
const classesOf = ({ tokens, kinds, style }: TokenizerSource): Uint8Array =>
  Uint8Array.from(tokens, (text, token) => {
    if (kinds[token] === 1) return TokenClass.special;
    const shown = new TextDecoder().decode(bytesOf(text, kinds[token], style)).trim();
    return /^[\p{P}\p{S}]+$/u.test(shown) ? TokenClass.punctuation : 0;
  });

/** Bytes become text once their character is whole; `spacePrefix`: the first token's space was not the text's. */
function detokenizerOf(bytes: (token: number) => Uint8Array, spacePrefix: boolean): Detokenizer {
  const decoder = new TextDecoder('utf-8');
  let first = spacePrefix;
  return {
    push(token) {
      const text = decoder.decode(bytes(token), { stream: true });
      if (!first || text === '') return text;
      first = false;
      return text.startsWith(' ') ? text.slice(1) : text;
    },
    end: () => decoder.decode(),
  };
}
