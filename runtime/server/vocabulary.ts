/** A model's tokens as grammars see them. */
import { Matchers, type Vocabulary } from '../grammar/index.ts';
import type { LoadedModel } from '../model/types.ts';

/** Tokens that end generation are no text, whatever they read. */
function vocabularyOf({ tokenizer, spec }: LoadedModel): Vocabulary {
  const ends = new Int32Array(spec.vocab);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (let token = 0; token < spec.vocab; token++) {
    const text = token < tokenizer.vocab && !tokenizer.eos.includes(token);
    const bytes = text ? tokenizer.bytes(token) : new Uint8Array(0);
    parts.push(bytes);
    ends[token] = at += bytes.length;
  }
  return { bytes: Buffer.concat(parts), ends };
}

export const matchersOf = (model: LoadedModel): Matchers => new Matchers(model.spec.vocab, () => vocabularyOf(model));
