/** The tokenizer of a model folder: tokenizer.json, and what tokenizer_config.json says besides. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from './json.ts';
import { type ByteTokens, libraryEncoder } from './library.ts';
import { TokenKind, type TokenizerSource } from './tokenizer.ts';
import { ModelError } from './types.ts';

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
}

/** Tokens beside the vocabulary: tokenizer.json's, and those that tokenizer_config.json alone has, as transformers adds them. */
function allAdded(tokenizer: Record<string, unknown>, config: Record<string, unknown>): AddedToken[] {
  const added = (tokenizer.added_tokens ?? []) as AddedToken[];
  const known = new Set(added.map(({ id }) => id));
  const more = Object.entries((config.added_tokens_decoder ?? {}) as Record<string, Partial<AddedToken>>)
    .map(([id, token]) => ({ ...token, id: Number(id) }))
    .filter((token): token is AddedToken => !known.has(token.id) && typeof token.content === 'string');
  return [...added, ...more];
}

interface PostProcessor {
  /** of a Sequence */
  processors?: (PostProcessor | null)[];
  /** of TemplateProcessing: what surrounds one text */
  single?: { SpecialToken?: { id: unknown } }[];
}

/** The special token that tokenizer.json puts before a text: often nothing else says that there is one. */
function firstToken(processor: PostProcessor | null | undefined): unknown {
  const all = [processor, processor?.processors].flat();
  return all.map((each) => each?.single?.[0]?.SpecialToken?.id).find((token) => token !== undefined);
}

interface Step {
  type?: string;
  prepend_scheme?: string;
  add_prefix_space?: boolean;
  normalizers?: Step[];
  pretokenizers?: Step[];
}

/** Whether a step of tokenizer.json puts a space before the text. */
function prefixesSpace({ normalizer, pre_tokenizer }: Record<string, unknown>): boolean {
  const steps = ([normalizer, pre_tokenizer] as (Step | null | undefined)[])
    .flatMap((step) => [step, ...(step?.normalizers ?? []), ...(step?.pretokenizers ?? [])])
    .filter((step) => step != null);
  return steps.some(
    ({ type, prepend_scheme, add_prefix_space = true }) =>
      type === 'Prepend' || (type === 'Metaspace' && (prepend_scheme ? prepend_scheme !== 'never' : add_prefix_space)),
  );
}

/** Whether a step replaces text by SentencePiece's table. */
const precompiled = (step: Step | null | undefined): boolean =>
  [step, ...(step?.normalizers ?? [])].some((each) => each?.type === 'Precompiled');

/** tokenizer.json's model. */
interface StoredModel {
  type?: string;
  /** of BPE by text; of Unigram [text, score] by number */
  vocab?: Record<string, number> | [text: string, score: number][];
  unk_id?: number | null;
  byte_fallback?: boolean;
}

/** Texts and numbers of all tokens. */
function vocabularyOf({ type = 'BPE', vocab, unk_id }: StoredModel, file: string): [text: string, id: number][] {
  if (type !== 'BPE' && type !== 'Unigram')
    throw new ModelError(
      `${file}: the tokenizer ${type} is not supported; BPE and Unigram are. A GGUF of the same model may be read.`,
    );
  if (typeof vocab !== 'object') throw new ModelError(`${file}: has no vocabulary.`);
  if (type === 'BPE' && !Array.isArray(vocab)) return Object.entries(vocab);
  const listed = Array.isArray(vocab) ? vocab : [];
  const sound = listed.every((each) => typeof each?.[0] === 'string' && typeof each[1] === 'number');
  if (type === 'BPE' || !sound || listed.length === 0)
    throw new ModelError(`${file}: the vocabulary is not one of ${type}: texts and numbers are expected.`);
  if (!(Number.isInteger(unk_id) && listed[unk_id!]))
    throw new ModelError(`${file}: unk_id is ${String(unk_id)}: what no token spells needs one.`);
  return listed.map(([text], id) => [text, id]);
}

/** Of a Unigram that spells with bytes. */
function byteTokens({ type, unk_id, byte_fallback }: StoredModel, tokens: readonly string[]): ByteTokens | undefined {
  if (type !== 'Unigram' || !byte_fallback) return undefined;
  const numbers = new Map(tokens.map((text, id) => [text, id]));
  const ids = Array.from({ length: 256 }, (_, byte) =>
    numbers.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  return { unknown: unk_id!, ids };
}

/** Without the tokens that end generation: config.json and generation_config.json name more of them than `eos`. */
export function storedTokenizer(
  folder: string,
): Omit<TokenizerSource, 'eosTokens'> & { eos?: number; config: Record<string, unknown>; notes: readonly string[] } {
  const file = join(folder, 'tokenizer.json');
  if (!existsSync(file) && existsSync(join(folder, 'tokenizer.model')))
    throw new ModelError(
      `${folder}: has tokenizer.model and no tokenizer.json. Save the tokenizer with transformers once: AutoTokenizer.from_pretrained(folder).save_pretrained(folder).`,
    );
  const tokenizer = readJson(file, true);
  const config = readJson(join(folder, 'tokenizer_config.json'), false);
  const model = (tokenizer.model ?? {}) as StoredModel;
  const vocabulary = vocabularyOf(model, file);
  const added = allAdded(tokenizer, config);
  let size = 0; // a vocabulary is too long for the arguments of Math.max
  for (const [, id] of vocabulary) size = Math.max(size, id + 1);
  for (const { id } of added) size = Math.max(size, id + 1);
  if (!Number.isInteger(size) || size > 1 << 21)
    throw new ModelError(`${file}: token numbers up to ${size} make no sense.`);
  const tokens = Array.from({ length: size }, () => '');
  const kinds = new Uint8Array(size);
  for (const [text, id] of vocabulary) {
    tokens[id] = text;
    if (model.byte_fallback && /^<0x[0-9A-F]{2}>$/.test(text)) kinds[id] = TokenKind.byte;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    kinds[id] = special ? TokenKind.special : TokenKind.userDefined;
  }
  const idOf = (value: unknown): number => {
    const text = typeof value === 'object' && value !== null ? (value as { content: unknown }).content : value;
    return typeof text === 'string' && text !== '' ? tokens.indexOf(text) : -1; // a token may be called undefined
  };
  const marked = model.type === 'Unigram' || model.byte_fallback === true; // ▁ for a space
  const first = firstToken(tokenizer.post_processor as PostProcessor | null);
  const [bos, eos] = [idOf(config.bos_token ?? first), idOf(config.eos_token)];
  return {
    encode: libraryEncoder({ ...tokenizer, added_tokens: added }, config, byteTokens(model, tokens)),
    notes: precompiled(tokenizer.normalizer as Step | null)
      ? [
          `${file}: its table of replacements (Precompiled) is not read: text is put into NFKC instead, which is nearly the same`,
        ]
      : [],
    config,
    tokens,
    kinds,
    style: marked ? 'spm' : 'byte-level',
    bos: bos >= 0 ? bos : undefined,
    eos: eos >= 0 ? eos : undefined,
    addBos: (config.add_bos_token ?? (bos >= 0 && idOf(first) === bos)) === true,
    spacePrefix: marked && prefixesSpace(tokenizer),
  };
}
