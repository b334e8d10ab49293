/** From a model's name to its numbers, tokenizer and chat template. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fromGguf } from './from-gguf.ts';
import { fromSafetensors } from './from-safetensors.ts';
import { piecesOf } from './pieces.ts';
import { insteadOf, readSafetensorsFolder } from './safetensors.ts';
import { nameOf, readGgufModel } from './split.ts';
import { resolveModel } from './source.ts';
import type { Progress } from './types.ts';
import type { AssembledModel } from './assemble.ts';
import { endsOf, tokensOf } from './ends.ts';
import { type Generation, generationOf, ggufGeneration } from './generation.ts';
import { compileTemplate } from './template.ts';
import { type TokenizerSource, makeTokenizer } from './tokenizer.ts';
import { type ChatMessage, type LoadedModel, ModelError } from './types.ts';

export interface LoadOptions {
  progress?: Progress;
  /** never download: a model that is not here is an error */
  offline?: boolean;
}

/** Loads the header, tokenizer and template of a model; weights are mapped by the engine. Throws ModelError. */
export async function loadModel(source: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const path = await resolveModel(source, options);
  return statSync(path).isDirectory() ? loadFolder(source, path) : loadGguf(source, path);
}

interface Parts {
  source: string;
  name: string;
  model: AssembledModel;
  pieces: TokenizerSource;
  template: string | undefined;
  /** what templates call eos_token, which need not be the first end */
  eos: number | undefined;
  generation: Generation;
}

function assemble({ source, name, model, pieces, template, eos, generation }: Parts): LoadedModel {
  if (model.spec.vocab < pieces.tokens.length)
    throw new ModelError(
      `${source}: the tokenizer has ${pieces.tokens.length} tokens, the embedding ${model.spec.vocab}.`,
    );
  const tokenizer = makeTokenizer(pieces);
  let render: ReturnType<typeof compileTemplate> | undefined;
  return {
    source,
    name,
    architecture: model.architecture,
    spec: model.spec,
    maxPosition: model.maxPosition,
    sampling: generation.sampling,
    notes: [...(model.notes ?? []), ...generation.notes],
    tokenizer,
    detokenizer: () => tokenizer.detokenizer(),
    hasChatTemplate: template !== undefined,
    chat(messages: readonly ChatMessage[], { addGenerationPrompt = true, variables = {} } = {}) {
      if (template === undefined) throw new ModelError(`${name} has no chat template; use /v1/completions.`);
      try {
        render ??= compileTemplate(template);
        const special = (token: number | undefined) => (token === undefined ? '' : pieces.tokens[token]);
        return render({
          tools: null, // as transformers passes what a request does not have
          documents: null,
          ...variables,
          messages,
          add_generation_prompt: addGenerationPrompt,
          bos_token: special(pieces.bos),
          eos_token: special(eos),
        });
      } catch (error) {
        throw new ModelError(`${name}: the chat template refuses these messages: ${(error as Error).message}`);
      }
    },
  };
}

function loadGguf(source: string, path: string): LoadedModel {
  const gguf = readGgufModel(path);
  const model = fromGguf(gguf);
  const pieces = piecesOf(gguf);
  const named = [pieces.eos, pieces.eot, pieces.eom].filter((token) => token !== undefined);
  const eosTokens = endsOf(pieces, named);
  const template = gguf.metadata.get('tokenizer.chat_template');
  return assemble({
    source,
    name: nameOf(path),
    model,
    pieces: { ...pieces, eosTokens },
    template: typeof template === 'string' ? template : undefined,
    eos: eosTokens[0],
    generation: ggufGeneration(gguf.metadata, gguf.file),
  });
}

function readJson(path: string, needed: boolean): Record<string, unknown> {
  if (!existsSync(path) && !needed) return {};
  try {
    const value = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    throw new ModelError(`${path}: ${existsSync(path) ? `is not JSON (${(error as Error).message})` : 'is missing'}.`);
  }
  throw new ModelError(`${path}: is not a JSON object.`);
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

/** In newer models a file of its own, in older ones in tokenizer_config.json, alone or in a list of named ones. */
function chatTemplate(folder: string, { chat_template: given }: Record<string, unknown>): string | undefined {
  const file = join(folder, 'chat_template.jinja');
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const template = Array.isArray(given) ? given.find((each) => each?.name === 'default')?.template : given;
  return typeof template === 'string' ? template : undefined;
}

function loadFolder(source: string, folder: string): LoadedModel {
  const configFile = join(folder, 'config.json');
  if (!existsSync(configFile)) throw new ModelError(`${folder}: has no config.json${insteadOf(folder)}.`);
  const config = readJson(configFile, true);
  const model = fromSafetensors(folder, config, () => readSafetensorsFolder(folder));
  const tokenizer = readJson(join(folder, 'tokenizer.json'), true);
  const tokenizerConfig = readJson(join(folder, 'tokenizer_config.json'), false);
  const bpe = tokenizer.model as { vocab?: Record<string, number>; byte_fallback?: boolean } | undefined;
  if (typeof bpe?.vocab !== 'object') throw new ModelError(`${folder}/tokenizer.json: has no vocabulary.`);
  const added = (tokenizer.added_tokens ?? []) as { id: number; content: string; special: boolean }[];
  let size = 0; // a vocabulary is too long for the arguments of Math.max
  for (const id of Object.values(bpe.vocab)) size = Math.max(size, id + 1);
  for (const { id } of added) size = Math.max(size, id + 1);
  if (!Number.isInteger(size) || size > 1 << 21)
    throw new ModelError(`${folder}/tokenizer.json: token numbers up to ${size} make no sense.`);
  const tokens = Array.from({ length: size }, () => '');
  for (const [text, id] of Object.entries(bpe.vocab)) tokens[id] = text;
  const kinds = new Uint8Array(size);
  for (const { id, content, special } of added) {
    tokens[id] = content;
    kinds[id] = special ? 1 : 2;
  }
  const idOf = (value: unknown): number => {
    const text = typeof value === 'object' && value !== null ? (value as { content: unknown }).content : value;
    return typeof text === 'string' && text !== '' ? tokens.indexOf(text) : -1; // a token may be called undefined
  };
  const generationFile = join(folder, 'generation_config.json');
  const own = existsSync(generationFile); // older models have the same keys in config.json
  const generation = own ? readJson(generationFile, true) : config;
  const eos = idOf(tokenizerConfig.eos_token);
  const named = [
    ...tokensOf(config.eos_token_id, model.spec.vocab, `${configFile}: eos_token_id`),
    ...tokensOf(generation.eos_token_id, model.spec.vocab, `${generationFile}: eos_token_id`),
    ...(eos >= 0 ? [eos] : []),
  ];
  const eosTokens = endsOf({ tokens, kinds }, named);
  const first = firstToken(tokenizer.post_processor as PostProcessor | null);
  const bos = idOf(tokenizerConfig.bos_token ?? first);
  const pieces: TokenizerSource = {
    tokenizer,
    config: tokenizerConfig,
    tokens,
    kinds,
    style: bpe.byte_fallback ? 'spm' : 'byte-level',
    bos: bos >= 0 ? bos : undefined,
    eosTokens,
    addBos: (tokenizerConfig.add_bos_token ?? (bos >= 0 && idOf(first) === bos)) === true,
    spacePrefix: bpe.byte_fallback === true,
  };
  return assemble({
    source,
    name: basename(folder),
    model,
    pieces,
    template: chatTemplate(folder, tokenizerConfig),
    eos: eos >= 0 ? eos : eosTokens[0],
    generation: generationOf(generation, own ? generationFile : configFile),
  });
}
