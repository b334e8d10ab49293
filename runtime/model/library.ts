/** tokenizer.json → encoder, by @huggingface/tokenizers. */
import { Tokenizer } from '@huggingface/tokenizers';
import type { TokenizerSource } from './tokenizer.ts';

/** Throws nothing yet: a tokenizer takes tens of milliseconds and megabytes, and is built when it is first needed. */
export function libraryEncoder(
  tokenizer: Record<string, unknown>,
  config: Record<string, unknown>,
): TokenizerSource['encode'] {
  let whole: Tokenizer | undefined;
  const wholly = () => (whole ??= new Tokenizer(tokenizer, config));
  // without special tokens in the way, text like <|im_end|> is ordinary text; it seldom is needed
  let plain: Tokenizer | undefined;
  const added = (tokenizer.added_tokens ?? []) as { content: string; special: boolean }[];
  const plainly = () =>
    (plain ??= new Tokenizer({ ...tokenizer, added_tokens: added.filter((token) => !token.special) }, config));
  const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const specials = added.filter((token) => token.special && token.content).map((token) => literal(token.content));
  const any = specials.length ? new RegExp(specials.join('|')) : /(?!)/;
  return (text, special) => {
    if (text === '') return [];
    const by = special || !any.test(text) ? wholly() : plainly();
    return by.encode(text, { add_special_tokens: false }).ids as number[];
  };
}
