/** The tokenizer of a model folder: tokenizer.json, and what tokenizer_config.json says besides. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from './json.ts';
import { libraryEncoder } from './library.ts';
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

/** Without the tokens that end generation: config.json and generation_config.json name more of them than `eos`. */
export function storedTokenizer(
  folder: string,
): Omit<TokenizerSource, 'eosTokens'> & { eos?: number; config: Record<string, unknown> } {
  const file = join(folder, 'tokenizer.json');
  if (!existsSync(file) && existsSync(join(folder, 'tokenizer.model')))
    throw new ModelError(
      `${folder}: has tokenizer.model and no tokenizer.json. Save the tokenizer with transformers once: AutoTokenizer.from_pretrained(folder).save_pretrained(folder).`,
    );
  const tokenizer = readJson(file, true);
  const config = readJson(join(folder, 'tokenizer_config.json'), false);
  const bpe = tokenizer.model as { type?: string; vocab?: Record<string, number>; byte_fallback?: boolean } | undefined;
  if ((bpe?.type ?? 'BPE') !== 'BPE')
    throw new ModelError(
      `${file}: the tokenizer ${bpe?.type} is not supported, BPE is. A GGUF of the same model may be read (its t5 is Unigram).`,
    );
  if (typeof bpe?.vocab !== 'object') throw new ModelError(`${file}: has no vocabulary.`);
  const added = allAdded(tokenizer, config);
  let size = 0; // a vocabulary is too long for the arguments of Math.max
  for (const id of Object.values(bpe.vocab)) size = Math.max(size, id + 1);
  for (const { id } of added) size = Math.max(size, id + 1);
  if (!Number.isInteger(size) || size > 1 << 21)
    throw new ModelError(`${file}: token numbers up to ${size} make no sense.`);
  const tokens = Array.from({ length: size }, () => '');
  const kinds = new Uint8Array(size);
  for (const [text, id] of Object.entries(bpe.vocab)) {
    tokens[id] = text;
    if (bpe.byte_fallback && /^<0x[0-9A-F]{2}>$/.test(text)) kinds[id] = TokenKind.byte;
  }
  for (const { id, content, special } of added) {
    tokens[id] = content;
    kinds[id] = special ? TokenKind.special : TokenKind.userDefined;
  }
  const idOf = (value: unknown): number => {
    const text = typeof value === 'object' && value !== null ? (value as { content: unknown }).content : value;
    return typeof text === 'string' && text !== '' ? tokens.indexOf(text) : -1; // a token may be called undefined
  };
  const first = firstToken(tokenizer.post_processor as PostProcessor | null);
  const [bos, eos] = [idOf(config.bos_token ?? first), idOf(config.eos_token)];
  return {
    encode: libraryEncoder({ ...tokenizer, added_tokens: added }, config),
    config,
    tokens,
    kinds,
    style: bpe.byte_fallback ? 'spm' : 'byte-level',
    bos: bos >= 0 ? bos : undefined,
    eos: eos >= 0 ? eos : undefined,
    addBos: (config.add_bos_token ?? (bos >= 0 && idOf(first) === bos)) === true,
    spacePrefix: bpe.byte_fallback === true && prefixesSpace(tokenizer),
  };
}
