/** How text is written in a vocabulary's tokens, as data whose arrays threads share; and the encoder that follows it. */
import { cutOf } from './cut.ts';
import { type Encoder, bytePairs, scoredPairs } from './encoders.ts';
import { type SpecialToken, finderOf } from './special-tokens.ts';
import { TextIndex, type TextIndexData } from './texts.ts';

export interface Spelling {
  readonly specials: readonly SpecialToken[];
  /** put before text at the beginning, and after a special token */
  readonly prefix: string;
  /** of tokens that are text */
  readonly ids: TextIndexData;
  readonly pairs:
    | { readonly by: 'merges'; readonly cut: string; readonly merges: TextIndexData }
    | { readonly by: 'scores'; readonly scores: Float32Array; readonly unknown?: number };
}

/** With the tokens that a file puts around a text (TokenizerSource). */
export interface WholeSpelling extends Spelling {
  readonly bos?: number;
  readonly addBos: boolean;
  readonly last?: number;
}

type Encode = (text: string, special: boolean) => number[];

function encoderOf({ ids, pairs }: Spelling): Encoder {
  const texts = TextIndex.from(ids);
  return pairs.by === 'merges'
    ? bytePairs(cutOf(pairs.cut)!, texts, TextIndex.from(pairs.merges))
    : scoredPairs(texts, pairs.scores, pairs.unknown);
}

/** Text between special tokens goes through `encode`. */
export function spell(specials: readonly SpecialToken[], prefix: string, encode: Encoder): Encode {
  const find = finderOf(specials);
  return (text, special) => {
    const out: number[] = [];
    let before = prefix;
    for (const part of find(text, special)) {
      if (typeof part === 'string') encode(before + part, out);
      else out.push(part.id);
      before = typeof part === 'string' ? '' : prefix;
    }
    return out;
  };
}

export const encodeBy = (spelling: Spelling): Encode => spell(spelling.specials, spelling.prefix, encoderOf(spelling));
