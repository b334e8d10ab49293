/** GGUF's vocabulary → a tokenizer: byte pair encoding, or SentencePiece's variant of it. */
import { cutNames, cutOf } from './cut.ts';
import type { Cut } from './cuts.ts';
import { turnEndsOf } from './ends.ts';
import type { Gguf, GgufValue } from './gguf.ts';
import type { SpecialToken } from './special-tokens.ts';
import { type Spelling, encodeBy, spell } from './spelling.ts';
import { TextIndex, Texts, sharedFloats } from './texts.ts';
import { TokenKind, type TokenizerSource } from './tokenizer.ts';
import { ModelError } from './types.ts';
import { replacer, unigram } from './unigram.ts';

/** By the number that llama.cpp gives a token's type: undefined, normal, unknown, control, user-defined, unused, byte. */
const kindOfType: readonly number[] = [
  TokenKind.unused,
  TokenKind.text,
  TokenKind.special,
  TokenKind.special,
  TokenKind.userDefined,
  TokenKind.unused,
  TokenKind.byte,
];

export interface Pieces extends Omit<TokenizerSource, 'eosTokens'> {
  readonly eos?: number;
  readonly eot?: number;
  /** ends a message to a tool */
  readonly eom?: number;
  /** what a user should know of it */
  readonly notes: readonly string[];
}

function strings(gguf: Gguf, key: string): Texts {
  const value = gguf.metadata.get(key);
  if (value instanceof Texts) return value;
  throw new ModelError(
    `${gguf.file}: metadata ${key} is ${value === undefined ? 'missing' : 'not a list of strings'}.`,
  );
}

/** What a model with another tokenizer is, by tokenizer.ggml.model. */
const others: Readonly<Record<string, string>> = {
  bert: 'WordPiece, of models that embed text and write none',
  rwkv: 'of RWKV',
  plamo2: 'of PLaMo 2',
  no_vocab: 'none: the file has no vocabulary',
};

/** Throws a ModelError that names the key at fault, or the tokenizer that is not supported. */
export function piecesOf(gguf: Gguf): Pieces {
  const model = at(gguf, 'model');
  if (model === 'gpt2' || model === 'gemma4') return byteLevel(gguf, model === 'gemma4' ? model : at(gguf, 'pre'));
  if (model === 'llama') return sentencePiece(gguf);
  if (model === 't5') return unigramPieces(gguf);
  const named = others[String(model)];
  throw new ModelError(
    `${gguf.file}: the tokenizer model ${String(model)}${named ? ` (${named})` : ''} is not supported; supported: gpt2, llama, t5, gemma4.`,
  );
}

const at = (gguf: Gguf, key: string): GgufValue | undefined => gguf.metadata.get(`tokenizer.ggml.${key}`);

/** -1 without a sign: how converters write that there is no such token. */
const NONE = 2 ** 32 - 1;

/** Number of the token that a key names. */
function tokenOf(gguf: Gguf, key: string, vocab: number): number | undefined {
  const value = at(gguf, `${key}_token_id`);
  if (value === undefined) return undefined;
  const id = Number(value);
  if (id === -1 || id === NONE) return undefined;
  if (!Number.isInteger(id) || id < 0 || id >= vocab)
    throw new ModelError(
      `${gguf.file}: tokenizer.ggml.${key}_token_id is ${String(value)}, the vocabulary has ${vocab} tokens.`,
    );
  return id;
}

/** A key that is true or false; throws for anything else. */
function flag(gguf: Gguf, key: string, otherwise: boolean): boolean {
  const value = at(gguf, key) ?? otherwise;
  if (typeof value !== 'boolean')
    throw new ModelError(`${gguf.file}: tokenizer.ggml.${key} is ${String(value)}, not true or false.`);
  return value;
}

interface Usual {
  /** where the file does not say */
  readonly addBos: boolean;
  readonly addEos?: boolean;
  /** tokens that a file without their keys means, if they are special there */
  readonly bos?: number;
  readonly eos?: number;
}

/** What files of either kind say alike. */
function commonOf(gguf: Gguf, usual: Usual) {
  const tokens = strings(gguf, 'tokenizer.ggml.tokens');
  const types = at(gguf, 'token_type');
  if (types !== undefined && (!(types instanceof Int32Array) || types.length !== tokens.length))
    throw new ModelError(`${gguf.file}: tokenizer.ggml.token_type does not have one number per token.`);
  const kinds = types
    ? Uint8Array.from(types, (type) => kindOfType[type] ?? TokenKind.unused)
    : new Uint8Array(tokens.length);
  // what ends a turn is no text that a user may write, though a file calls it user-defined (Phi 3's </s>)
  for (const id of turnEndsOf(tokens)) if (kinds[id] === TokenKind.userDefined) kinds[id] = TokenKind.special;
  const named = (key: string) => tokenOf(gguf, key, tokens.length);
  const orUsual = (key: 'bos' | 'eos'): number | undefined => {
    const id = usual[key];
    const meant = id !== undefined && at(gguf, `${key}_token_id`) === undefined && kinds[id] === TokenKind.special;
    const token = meant ? id : named(key);
    if (at(gguf, `add_${key}_token`) === true && token === undefined)
      throw new ModelError(
        `${gguf.file}: tokenizer.ggml.add_${key}_token is true, and tokenizer.ggml.${key}_token_id names no token. Write the token's number into the file, or that it is not added (gguf-set-metadata).`,
      );
    return token;
  };
  const [bos, eos] = [orUsual('bos'), orUsual('eos')];
  flag(gguf, 'add_sep_token', false); // between the two texts of a reranker; a prompt is one
  const last = flag(gguf, 'add_eos_token', usual.addEos ?? false) ? eos : undefined;
  return {
    tokens,
    kinds,
    bos,
    eos,
    eot: named('eot'),
    eom: named('eom'),
    last,
    addBos: flag(gguf, 'add_bos_token', usual.addBos),
  };
}

interface Common {
  readonly tokens: Texts;
  readonly kinds: Uint8Array;
}

/** Not of control tokens: no text merges into one. */
const numbersOf = ({ tokens, kinds }: Common): TextIndex =>
  TextIndex.of(tokens, (id) => kinds[id] !== TokenKind.special);

/** Names of models whose special tokens swallow the white space after them, and those of their tokens that do not. */
const swallowing = { models: /phi-?3/i, except: ['<unk>', '<s>', '<|endoftext|>'] };

const swallows = (gguf: Gguf): boolean => swallowing.models.test(String(gguf.metadata.get('general.name') ?? ''));

function specialsOf({ tokens, kinds }: Common, swallows = false): SpecialToken[] {
  const specials: SpecialToken[] = [];
  kinds.forEach((kind, id) => {
    const control = kind === TokenKind.special;
    if (!control && kind !== TokenKind.userDefined) return;
    const text = tokens.at(id)!;
    specials.push({ id, text, control, trimsAfter: swallows && !swallowing.except.includes(text) });
  });
  return specials;
}

/** Called once, when its value is first needed: an encoder takes a moment, and not every command encodes. */
function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

/** `make` must hold what it needs and not the file's metadata, which may go. */
function spelled(make: () => Spelling): Pick<Pieces, 'encode' | 'spelling'> {
  const spelling = once(make);
  const encode = once(() => encodeBy(spelling()));
  return { spelling, encode: (text, special) => encode()(text, special) };
}

/** The row of tokenizer.ggml.pre; throws for one that nobody knows. */
function rowOf(gguf: Gguf, pre: GgufValue | undefined): Cut {
  const name = String(pre ?? 'default');
  const row = cutOf(name);
  if (row) return row;
  throw new ModelError(
    `${gguf.file}: the pre-tokenizer ${name} (tokenizer.ggml.pre) is not supported, and another would cut text in other places. Use the model's safetensors folder, whose tokenizer.json says how; or, if it cuts as one of these does, write that name into the file (gguf-set-metadata): ${cutNames().join(', ')}.`,
  );
}

/** GPT-2's: characters stand for bytes, merges are listed. */
function byteLevel(gguf: Gguf, pre: GgufValue | undefined): Pieces {
  const row = rowOf(gguf, pre);
  const common = commonOf(gguf, { addBos: row.addBos ?? false });
  const merges = strings(gguf, 'tokenizer.ggml.merges');
  const notes: string[] = [];
  if (pre === undefined)
    notes.push('tokenizer.ggml.pre is missing: text is cut as by llama.cpp, which may not be how the model learned it');
  if (at(gguf, 'add_space_prefix') === true)
    notes.push('tokenizer.ggml.add_space_prefix is not obeyed, as in llama.cpp, whose byte-level tokenizer has none');
  return {
    ...common,
    notes,
    ...byMerges(row.names[0], merges, common, swallows(gguf)),
    style: row.marked ? 'spm' : 'byte-level',
    spacePrefix: false,
  };
}

const byMerges = (cut: string, merges: Texts, common: Common, swallows: boolean) =>
  spelled(() => ({
    specials: specialsOf(common, swallows),
    prefix: '',
    ids: numbersOf(common),
    pairs: { by: 'merges', cut, merges: TextIndex.of(merges) },
  }));

function scoresOf(gguf: Gguf, { tokens }: Common): Float32Array {
  const scores = at(gguf, 'scores');
  if (scores instanceof Float32Array && scores.length === tokens.length) return scores;
  throw new ModelError(`${gguf.file}: tokenizer.ggml.scores does not have one number per token.`);
}

/** SentencePiece's: a mark for the space, byte tokens, merges that follow from scores. */
function sentencePiece(gguf: Gguf): Pieces {
  const common = commonOf(gguf, { addBos: true, bos: 1, eos: 2 });
  const { tokens, kinds } = common;
  const scores = scoresOf(gguf, common);
  const unknown = tokenOf(gguf, 'unknown', tokens.length) ?? (kinds[0] === TokenKind.special ? 0 : undefined);
  const spacePrefix = flag(gguf, 'add_space_prefix', true);
  return {
    ...common,
    notes: [],
    ...byScores(scores, unknown, common, spacePrefix ? ' ' : '', swallows(gguf)),
    style: 'spm',
    spacePrefix,
  };
}

const byScores = (
  scores: Float32Array,
  unknown: number | undefined,
  common: Common,
  prefix: string,
  swallows: boolean,
) =>
  spelled(() => ({
    specials: specialsOf(common, swallows),
    prefix,
    ids: numbersOf(common),
    pairs: { by: 'scores', scores: sharedFloats(scores), unknown },
  }));

/** How much worse than the worst token an unknown character is. */
const UNKNOWN = 10;

/** SentencePiece's Unigram: the tokens whose scores sum highest. */
function unigramPieces(gguf: Gguf): Pieces {
  const common = commonOf(gguf, { addBos: false, addEos: true, eos: 1 });
  const { tokens, kinds } = common;
  const scores = scoresOf(gguf, common);
  const unknown = tokenOf(gguf, 'unknown', tokens.length) ?? 2;
  const table = at(gguf, 'precompiled_charsmap');
  const normalise = Array.isArray(table)
    ? replacer(Uint8Array.from(table as number[]), gguf.file)
    : (text: string) => text;
  const spacePrefix = flag(gguf, 'add_space_prefix', false);
  const mergesSpaces = flag(gguf, 'remove_extra_whitespaces', false);
  const known: readonly number[] = [TokenKind.text, TokenKind.userDefined, TokenKind.unused];
  const encode = once(() => {
    let worst = Number.MAX_VALUE;
    kinds.forEach((kind, id) => {
      if (kind === TokenKind.text) worst = Math.min(worst, scores[id]);
    });
    const words = unigram({
      tokens: Array.from({ length: tokens.length }, (_, id) => id).flatMap((id) =>
        known.includes(kinds[id])
          ? [{ id, text: tokens.at(id)!, score: kinds[id] === TokenKind.userDefined ? 0 : scores[id] }]
          : [],
      ),
      unknown,
      unknownScore: Math.fround(worst - UNKNOWN),
      spacePrefix,
      mergesSpaces,
      normalise,
    });
    return spell(specialsOf(common), '', words);
  });
  return {
    ...common,
    notes: [],
    encode: (text, special) => encode()(text, special),
    style: 'spm',
    spacePrefix,
  };
}
