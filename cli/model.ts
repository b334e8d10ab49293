/** Loading a model and an engine from command-line options. */
import { readFileSync } from 'node:fs';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { Engine } from '../runtime/engine/engine.ts';
import type { EngineOptions } from '../runtime/engine/types.ts';
import { dummyModel, shapeNames } from '../runtime/model/dummy.ts';
import { loadModel } from '../runtime/model/load.ts';
import { parseList } from '../runtime/native/processors.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import { parseBytes, parseRatio, whole } from './flags.ts';
import { note, progressLine } from './output.ts';
import { UserError } from '../toolchain/errors.ts';

/** `context`: tokens that will be served at most, where a flag says so; `chatTemplate`: instead of the model's. */
export async function openModel(source: string, context?: number, chatTemplate?: string): Promise<LoadedModel> {
  const line = progressLine(`fetching ${source}`);
  let model: LoadedModel;
  try {
    model = await loadModel(source, {
      context,
      chatTemplate,
      progress: ({ received, total }) => line.at(received, total),
    });
  } finally {
    line.end();
  }
  for (const each of model.notes) note(`skv: ${each}`);
  return model;
}

export interface LoadFlags {
  loadFormat: string;
  shape?: string;
}

/** --load-format dummy --shape NAME: random weights. undefined: a real model is wanted. */
export function openDummy({ loadFormat, shape }: LoadFlags): LoadedModel | undefined {
  if (loadFormat !== 'auto' && loadFormat !== 'dummy')
    throw new UserError(`--load-format ${loadFormat}: auto and dummy are possible.`);
  if (loadFormat === 'auto') {
    if (shape !== undefined) throw new UserError(`--shape ${shape} is of random weights: add --load-format dummy.`);
    return undefined;
  }
  if (shape === undefined)
    throw new UserError(`--load-format dummy: which --shape? ${shapeNames.join(', ')} are possible.`);
  const model = dummyModel(shape);
  for (const each of model.notes) note(`skv: ${each}`);
  return model;
}

/** Tokens of --text FILE, which must have `needed` of them. */
export function longText({ tokenizer }: LoadedModel, file: string, needed: number, addBos: boolean): Int32Array {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UserError(`--text ${file}: it cannot be read (${(error as Error).message}).`);
  }
  const tokens = tokenizer.encode(text, { addBos });
  if (tokens.length < needed) throw new UserError(`${file} has ${tokens.length} tokens; ${needed} are needed.`);
  return tokens;
}

export interface EngineFlags {
  kvCacheMemory?: string;
  kvCacheDtype?: string;
  dtype?: string;
  maxNumBatchedTokens?: string;
  maxNumSeqs?: string;
  maxModelLen?: string;
  threads?: string;
  cpu?: string;
  sparseKvCacheRatio?: string;
  enablePrefixCaching?: boolean;
}

/** 0,2-4 */
function parseCpus(text: string | undefined): number[] | undefined {
  const cpus = text === undefined ? undefined : parseList(text);
  if (text !== undefined && cpus === undefined)
    throw new UserError(`--cpu ${text}: write numbers of processors, such as 0,2-4.`);
  return cpus;
}

/** undefined: as policies want it */
export function kvTypeOf({ kvCacheDtype: type }: EngineFlags): EngineOptions['kvType'] {
  if (type === undefined || type === 'auto') return undefined;
  if (type !== 'bf16' && type !== 'f32')
    throw new UserError(`--kv-cache-dtype ${type}: auto, bf16 and f32 are possible.`);
  return type;
}

/** undefined: as fast as it goes */
function activationsOf({ dtype }: EngineFlags): EngineOptions['activations'] {
  if (dtype === undefined || dtype === 'auto') return undefined;
  if (dtype !== 'f32') throw new UserError(`--dtype ${dtype}: auto and f32 are possible.`);
  return dtype;
}

export function engineOptions(model: LoadedModel, policies: BuiltPolicy[], flags: EngineFlags): EngineOptions {
  return {
    model,
    policies,
    ratio: parseRatio('sparse-kv-cache-ratio', flags.sparseKvCacheRatio),
    kvType: kvTypeOf(flags),
    activations: activationsOf(flags),
    kvCacheBytes: parseBytes('kv-cache-memory', flags.kvCacheMemory),
    maxBatchedTokens: whole('max-num-batched-tokens', flags.maxNumBatchedTokens),
    maxSeqs: whole('max-num-seqs', flags.maxNumSeqs),
    maxModelLen: whole('max-model-len', flags.maxModelLen),
    threads: whole('threads', flags.threads),
    cpus: parseCpus(flags.cpu),
    note: (line) => note(`skv: ${line}`),
    prefixCache: flags.enablePrefixCaching,
  };
}

export async function openEngine(
  model: LoadedModel,
  policies: BuiltPolicy[],
  flags: EngineFlags = {},
  device: Pick<EngineOptions, 'backend' | 'poolFraction' | 'place'> = {},
): Promise<Engine> {
  return Engine.create({ ...engineOptions(model, policies, flags), ...device });
}
