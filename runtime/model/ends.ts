/** Tokens that end generation: those that a model's files name, and those of its vocabulary that end a turn by their text. */
import type { TextList } from './texts.ts';
import { ModelError } from './types.ts';

/** How families write the end of a turn, of a text, of a message to a tool. */
export const turnEnds: readonly string[] = [
  '<|im_end|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '<|end_of_turn|>',
  '<end_of_turn>',
  '<|end|>',
  '<|return|>',
  '<|eot|>',
  '<|END_OF_TURN_TOKEN|>',
  '<｜end▁of▁sentence｜>',
  '<EOT>',
  '</s>',
];

/** Numbers of those that a vocabulary has, whatever kind of token they are there. */
export const turnEndsOf = (tokens: TextList): number[] =>
  turnEnds.map((text) => tokens.indexOf(text)).filter((token) => token >= 0);

export interface Vocabulary {
  readonly tokens: TextList;
  /** [vocab] 0: ordinary text, which ends nothing whatever it reads */
  readonly kinds: Uint8Array;
}

/** What is named first, without doubles. */
export function endsOf({ tokens, kinds }: Vocabulary, named: readonly number[]): number[] {
  const byText = turnEndsOf(tokens).filter((token) => kinds[token] !== 0);
  return [...new Set([...named, ...byText])];
}

/** Tokens of a key that holds a number, a list of them, or nothing; -1 is nothing, too. Throws for what is no token. */
export function tokensOf(value: unknown, rows: number, where: string): number[] {
  return [value].flat().flatMap((id) => {
    if (id === undefined || id === null || id === -1) return [];
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < rows) return [id];
    throw new ModelError(`${where} is ${JSON.stringify(value)}, and the model has ${rows} tokens.`);
  });
}
