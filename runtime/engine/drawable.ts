/** What a sequence may draw next: what its mask, its list of tokens, its bad words and its minimum of tokens leave. */
import { maskWords } from '../contract/records.ts';
import type { GenerateRequest, LogitMask } from './types.ts';

export const addToken = (set: Int32Array, token: number): void => void (set[token >> 5] |= 1 << (token & 31));
export const dropToken = (set: Int32Array, token: number): void => void (set[token >> 5] &= ~(1 << (token & 31)));
export const hasToken = (set: Int32Array, token: number): boolean => ((set[token >> 5] >>> (token & 31)) & 1) === 1;

/** Tokens by number. A word that ends in one of them is forbidden where the tokens before it have just been drawn. */
type BadWords = NonNullable<GenerateRequest['badWords']>;

export class Drawable {
  /** [vocabulary / 32, rounded up] bits; what `next` came to */
  readonly set: Int32Array;
  /** `set` is what may be drawn after the tokens so far */
  known = false;
  readonly mask: LogitMask | undefined;
  private readonly listed: Int32Array | undefined;
  private readonly badWords: BadWords;
  private readonly stops: readonly number[];
  private readonly minTokens: number;

  constructor(request: GenerateRequest, vocab: number) {
    this.mask = request.mask;
    this.badWords = request.badWords ?? [];
    this.stops = request.stopTokens ?? [];
    this.minTokens = request.minTokens ?? 0;
    this.set = new Int32Array(maskWords(vocab));
    if (!request.allowedTokens) return;
    this.listed = new Int32Array(this.set.length);
    for (const token of request.allowedTokens) addToken(this.listed, token);
  }

  /** Fills the set; false when nothing is left. `generated`: tokens drawn so far. */
  fill(generated: Int32Array): boolean {
    const { set, listed, mask } = this;
    if (mask?.allowed) set.set(mask.allowed);
    else set.fill(-1);
    if (listed) for (let i = 0; i < set.length; i++) set[i] &= listed[i];
    for (const word of this.badWords) if (endsWith(generated, word)) dropToken(set, word[word.length - 1]);
    if (generated.length < this.minTokens) for (const token of this.stops) dropToken(set, token);
    this.known = true;
    return set.some((word) => word !== 0);
  }

  accept(token: number): void {
    this.known = false;
    this.mask?.accept(token);
  }
}

/** All of a word but its last token has just been drawn. */
function endsWith(generated: Int32Array, word: ArrayLike<number>): boolean {
  const before = word.length - 1;
  const from = generated.length - before;
  if (from < 0) return false;
  for (let i = 0; i < before; i++) if (generated[from + i] !== word[i]) return false;
  return true;
}

/** Undefined where every token may be drawn always. */
export const drawableOf = (request: GenerateRequest, vocab: number): Drawable | undefined =>
  !request.forced && (request.mask || request.allowedTokens || request.badWords?.length)
    ? new Drawable(request, vocab)
    : undefined;
