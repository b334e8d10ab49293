/** GGUF's vocabulary → the tokenizer.json that @huggingface/tokenizers reads. */
import type { Gguf, GgufValue } from './gguf.ts';
import { ModelError } from './types.ts';

/** Token types as llama.cpp numbers them. */
const CONTROL = 3;
const USER = 4;
const BYTE = 6;

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const QWEN2 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** How text is cut before merging, by `tokenizer.ggml.pre`: digits apart, then a pattern. */
const splits: Record<string, { digits?: boolean; pattern: string }> = {
  default: { pattern: GPT2 },
  'gpt-2': { pattern: GPT2 },
  gpt2: { pattern: GPT2 },
  smollm: { digits: true, pattern: GPT2 },
  'llama-bpe': { pattern: LLAMA3 },
  llama3: { pattern: LLAMA3 },
  'llama-v3': { pattern: LLAMA3 },
  qwen2: { pattern: QWEN2 },
};

export interface Pieces {
  tokenizer: Record<string, unknown>;
  config: Record<string, unknown>;
  tokens: string[];
  /** [vocab] 1: special, 2: user-defined, 3: a byte token <0x41> */
  kinds: Uint8Array;
  /** how a token's text stands for bytes */
  style: 'byte-level' | 'spm';
  bos?: number;
  eos?: number;
  eot?: number;
  /** ends a message to a tool */
  eom?: number;
  addBos: boolean;
  /** a space is put before the text (SPM) */
  spacePrefix: boolean;
}

function strings(gguf: Gguf, key: string, needed: boolean): string[] {
  const value = gguf.metadata.get(key);
  if (value === undefined && !needed) return [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
    throw new ModelError(
      `${gguf.file}: metadata ${key} is ${value === undefined ? 'missing' : 'not a list of strings'}.`,
    );
  return value as string[];
}

/** Throws a ModelError that names the key at fault, or the tokenizer that is not supported. */
export function piecesOf(gguf: Gguf): Pieces {
  const vocabulary = vocabularyOf(gguf);
  const model = at(gguf, 'model');
  if (model === 'gpt2') return byteLevel(gguf, vocabulary);
  if (model === 'llama') return sentencePiece(gguf, vocabulary);
  throw new ModelError(`${gguf.file}: the tokenizer model ${String(model)} is not supported; supported: gpt2, llama.`);
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

type Vocabulary = ReturnType<typeof vocabularyOf>;

/** Tokens, their kinds, and what both tokenizers have of tokenizer.json. */
function vocabularyOf(gguf: Gguf) {
  const tokens = strings(gguf, 'tokenizer.ggml.tokens', true);
  const types = at(gguf, 'token_type');
  if (types !== undefined && (!(types instanceof Int32Array) || types.length !== tokens.length))
    throw new ModelError(`${gguf.file}: tokenizer.ggml.token_type does not have one number per token.`);
  const kinds = Uint8Array.from(
    tokens,
    (_, i) => ({ [CONTROL]: 1, [USER]: 2, [BYTE]: 3 })[(types as Int32Array | undefined)?.[i] ?? 1] ?? 0,
  );
  const added = tokens.flatMap((content, id) =>
    kinds[id] === 1 || kinds[id] === 2
      ? [{ id, content, special: kinds[id] === 1, single_word: false, lstrip: false, rstrip: false, normalized: false }]
      : [],
  );
  const vocab: Record<string, number> = Object.create(null);
  tokens.forEach((text, id) => {
    if (!(text in vocab)) vocab[text] = id;
  });
  const [bos, eos, eot, eom] = ['bos', 'eos', 'eot', 'eom'].map((key) => tokenOf(gguf, key, tokens.length));
  return {
    vocab,
    base: { tokens, kinds, bos, eos, eot, eom },
    common: { version: '1.0', truncation: null, padding: null, added_tokens: added, post_processor: null },
  };
}

/** GPT-2's: characters stand for bytes, merges are listed. */
function byteLevel(gguf: Gguf, { vocab, base, common }: Vocabulary): Pieces {
  const pre = String(at(gguf, 'pre') ?? 'default');
  const split = splits[pre];
  if (!split)
    throw new ModelError(
      `${gguf.file}: the pre-tokenizer ${pre} is not supported; supported: ${Object.keys(splits).join(', ')}.`,
    );
  const llama3 = pre.startsWith('llama'); // llama.cpp: whole words before merges, and BOS unless a key says otherwise
  const steps = [
    ...(split.digits ? [{ type: 'Split', pattern: { Regex: '\\p{N}' }, behavior: 'Isolated', invert: false }] : []),
    { type: 'Split', pattern: { Regex: split.pattern }, behavior: 'Isolated', invert: false },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
  ];
  const tokenizer = {
    ...common,
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: steps },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: llama3,
      vocab,
      merges: strings(gguf, 'tokenizer.ggml.merges', true),
    },
  };
  return {
    ...base,
    tokenizer,
    config: {},
    style: 'byte-level',
    addBos: (at(gguf, 'add_bos_token') ?? llama3) === true,
    spacePrefix: false,
  };
}

/** SentencePiece's: a mark for the space, byte tokens, merges that follow from scores. */
function sentencePiece(gguf: Gguf, { vocab, base, common }: Vocabulary): Pieces {
  const { tokens, kinds } = base;
  const scores = at(gguf, 'scores');
  if (!(scores instanceof Float32Array) || scores.length !== tokens.length)
    throw new ModelError(`${gguf.file}: tokenizer.ggml.scores does not have one number per token.`);
  const spacePrefix = at(gguf, 'add_space_prefix') !== false;
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const tokenizer = {
    ...common,
    normalizer: {
      type: 'Sequence',
      normalizers: [...(spacePrefix ? [{ type: 'Prepend', prepend: '▁' }] : []), replace],
    },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(spacePrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: tokens[tokenOf(gguf, 'unknown', tokens.length) ?? 0],
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: mergesFromScores(tokens, vocab, scores, kinds),
    },
  };
  return { ...base, tokenizer, config: {}, style: 'spm', addBos: at(gguf, 'add_bos_token') !== false, spacePrefix };
}

/** SentencePiece merges the pair whose result scores highest: every split of every piece, in the order of scores. */
function mergesFromScores(
  tokens: readonly string[],
  vocab: Record<string, number>,
  scores: Float32Array,
  kinds: Uint8Array,
): string[] {
  const order = [...tokens.keys()]
    .filter((id) => kinds[id] === 0 && [...tokens[id]].length > 1)
    .sort((a, b) => scores[b] - scores[a] || a - b);
  const merges: string[] = [];
  for (const id of order) {
    const text = tokens[id];
    const pairs: [number, number, string][] = [];
    for (let cut = 1; cut < text.length; cut++) {
      const [first, second] = [vocab[text.slice(0, cut)], vocab[text.slice(cut)]];
      if (first !== undefined && second !== undefined)
        pairs.push([first, second, `${text.slice(0, cut)} ${text.slice(cut)}`]);
    }
    pairs.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    for (const [, , merge] of pairs) merges.push(merge);
  }
  return merges;
}
