/** tokenizer.json → encoder, by @huggingface/tokenizers. */
import { Tokenizer } from '@huggingface/tokenizers';
import type { TokenizerSource } from './tokenizer.ts';

/** What stands for text that no token spells, where its bytes are tokens: the library's Unigram leaves it unknown. */
export interface ByteTokens {
  readonly unknown: number;
  /** [256], undefined where a byte has none */
  readonly ids: readonly (number | undefined)[];
}

/** A Unigram none of whose tokens reads like these: unlike BPE it takes them out of any text. */
function unspoken(model: unknown, specials: readonly string[]): unknown {
  const { vocab } = model as { vocab: unknown };
  if (!Array.isArray(vocab)) return model;
  const names = new Set(specials);
  // half of a character is in no text
  const hidden = (text: string, id: number) => (names.has(text) ? `\ud800${id}` : text);
  return { ...(model as object), vocab: vocab.map(([text, score], id) => [hidden(text, id), score]) };
}

/** Throws nothing yet: a tokenizer takes tens of milliseconds and megabytes, and is built when it is first needed. */
export function libraryEncoder(
  tokenizer: Record<string, unknown>,
  config: Record<string, unknown>,
  bytes?: ByteTokens,
): TokenizerSource['encode'] {
  let whole: Tokenizer | undefined;
  const wholly = () => (whole ??= new Tokenizer(tokenizer, config));
  // without special tokens in the way, text like <|im_end|> is ordinary text; it seldom is needed
  let plain: Tokenizer | undefined;
  const added = (tokenizer.added_tokens ?? []) as { content: string; special: boolean }[];
  const plainly = () =>
    (plain ??= new Tokenizer(
      {
        ...tokenizer,
        model: unspoken(tokenizer.model, specials),
        added_tokens: added.filter((token) => !token.special),
      },
      config,
    ));
  const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const specials = added.filter(({ special, content }) => special && content).map(({ content }) => content);
  const written = new Set(added.map(({ content }) => content));
  const any = specials.length ? new RegExp(specials.map(literal).join('|')) : /(?!)/;
  return (text, special) => {
    if (text === '') return [];
    const by = special || !any.test(text) ? wholly() : plainly();
    const { ids, tokens } = by.encode(text, { add_special_tokens: false }) as { ids: number[]; tokens: string[] };
    if (!bytes) return ids;
    const spelt = (text: string): number[] => {
      const found = Array.from(new TextEncoder().encode(text), (byte) => bytes.ids[byte]);
      return found.every((id) => id !== undefined) ? (found as number[]) : [bytes.unknown];
    };
    return ids.flatMap((id, i) => (id === bytes.unknown && !written.has(tokens[i]) ? spelt(tokens[i]) : [id]));
  };
}
