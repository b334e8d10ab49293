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
import { readJson } from './json.ts';
import { storedTokenizer } from './stored-tokenizer.ts';
import { compileTemplate } from './template.ts';
import { textPartOf } from './text-part.ts';
import { type TokenizerSource, makeTokenizer } from './tokenizer.ts';
import { type ChatMessage, type LoadedModel, ModelError } from './types.ts';

export interface LoadOptions {
  progress?: Progress;
  /** never download: a model that is not here is an error */
  offline?: boolean;
  /** tokens that will be served at most, where that is less than the model's own context */
  context?: number;
  /** instead of the model's own */
  chatTemplate?: string;
}

/** Loads the header, tokenizer and template of a model; weights are mapped by the engine. Throws ModelError. */
export async function loadModel(source: string, options: LoadOptions = {}): Promise<LoadedModel> {
  const path = await resolveModel(source, options);
  const { chatTemplate: template, ...rest } = options;
  const parts = statSync(path).isDirectory() ? folderParts(source, path, rest) : ggufParts(source, path, rest);
  return assemble(template === undefined ? parts : { ...parts, template });
}

interface Parts {
  source: string;
  name: string;
  model: AssembledModel;
  pieces: TokenizerSource & { notes?: readonly string[] };
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
    notes: [...(model.notes ?? []), ...(pieces.notes ?? []), ...generation.notes],
    tokenizer,
    detokenizer: (options) => tokenizer.detokenizer(options),
    hasChatTemplate: template !== undefined,
    chatTemplate: template,
    chat(messages: readonly ChatMessage[], { addGenerationPrompt = true, variables = {}, tools } = {}) {
      if (template === undefined) throw new ModelError(`${name} has no chat template; use /v1/completions.`);
      try {
        render ??= compileTemplate(template);
        const special = (token: number | undefined) => (token === undefined ? '' : pieces.tokens.at(token));
        return render({
          tools: tools ?? null, // as transformers passes what a request does not have
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

/** What a GGUF file may be instead of a model, by general.type. */
const kinds: Readonly<Record<string, string>> = {
  adapter: 'an adapter (merge it into its base model)',
  mmproj: 'the eyes or ears of another model',
  imatrix: 'a matrix of importances',
  vocab: 'a vocabulary',
};

function ggufParts(source: string, path: string, { context }: LoadOptions): Parts {
  const gguf = readGgufModel(path);
  const kind = gguf.metadata.get('general.type') ?? 'model';
  if (kind !== 'model') throw new ModelError(`${path}: holds ${kinds[String(kind)] ?? String(kind)}, not a model.`);
  const model = fromGguf(gguf, context);
  const pieces = piecesOf(gguf);
  const named = [pieces.eos, pieces.eot, pieces.eom].filter((token) => token !== undefined);
  const eosTokens = endsOf(pieces, named);
  const template = gguf.metadata.get('tokenizer.chat_template');
  return {
    source,
    name: nameOf(path),
    model,
    pieces: { ...pieces, eosTokens },
    template: typeof template === 'string' ? template : undefined,
    eos: eosTokens[0],
    generation: ggufGeneration(gguf.metadata, gguf.file),
  };
}

/** In newer models a file of its own, in older ones in tokenizer_config.json, alone or in a list of named ones. */
function chatTemplate(folder: string, config: Record<string, unknown>): string | undefined {
  const file = join(folder, 'chat_template.jinja');
  if (existsSync(file)) return readFileSync(file, 'utf8');
  const given = config.chat_template ?? readJson(join(folder, 'chat_template.json'), false).chat_template; // of processors
  const template = Array.isArray(given) ? given.find((each) => each?.name === 'default')?.template : given;
  return typeof template === 'string' ? template : undefined;
}

function folderParts(source: string, folder: string, { context }: LoadOptions): Parts {
  const configFile = join(folder, 'config.json');
  if (!existsSync(configFile)) throw new ModelError(`${folder}: has no config.json${insteadOf(folder)}.`);
  const part = textPartOf(readJson(configFile, true), configFile);
  const { config } = part;
  const model = fromSafetensors(folder, part, () => readSafetensorsFolder(folder), context);
  const { eos, ...stored } = storedTokenizer(folder);
  const generationFile = join(folder, 'generation_config.json');
  const own = existsSync(generationFile); // older models have the same keys in config.json
  const generation = own ? readJson(generationFile, true) : config;
  const named = [
    ...tokensOf(config.eos_token_id, model.spec.vocab, `${configFile}: eos_token_id`),
    ...tokensOf(generation.eos_token_id, model.spec.vocab, `${generationFile}: eos_token_id`),
    ...(eos === undefined ? [] : [eos]),
  ];
  const pieces = { ...stored, eosTokens: endsOf(stored, named) };
  return {
    source,
    name: basename(folder),
    model,
    pieces,
    template: chatTemplate(folder, stored.config),
    eos: eos ?? pieces.eosTokens[0],
    generation: generationOf(generation, own ? generationFile : configFile),
  };
}
