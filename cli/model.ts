/** Loading a model and an engine from command-line options. */
import { readFileSync } from 'node:fs';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { Engine } from '../runtime/engine/engine.ts';
import type { EngineOptions } from '../runtime/engine/types.ts';
import { loadModel } from '../runtime/model/load.ts';
import { parseList } from '../runtime/native/processors.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import { note, progressLine } from './output.ts';
import { UserError } from '../toolchain/errors.ts';

export async function openModel(source: string): Promise<LoadedModel> {
  const line = progressLine(`fetching ${source}`);
  try {
    return await loadModel(source, { progress: ({ received, total }) => line.at(received, total) });
  } finally {
    line.end();
  }
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
  maxNumBatchedTokens?: string;
  maxNumSeqs?: string;
  maxModelLen?: string;
  threads?: string;
  cpu?: string;
  sparseKvCacheRatio?: string;
  enablePrefixCaching?: boolean;
}

const positive = (flag: string, text: string | undefined): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new UserError(`--${flag} ${text}: a whole number from 1 is needed.`);
  return value;
};

/** 2GiB, 512MiB, 1000000 … */
export function parseBytes(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, number, unit = ''] = text.match(/^(\d+(?:\.\d+)?)\s*([KMG]i?B?|B)?$/i) ?? [];
  if (number === undefined) throw new UserError(`--${flag} ${text}: write a size such as 512MiB or 2GiB.`);
  const power = { K: 1, M: 2, G: 3 }[unit[0]?.toUpperCase() as 'K'] ?? 0;
  return Math.floor(Number(number) * 1024 ** power);
}

/** 0,2-4 */
function parseCpus(text: string | undefined): number[] | undefined {
  const cpus = text === undefined ? undefined : parseList(text);
  if (text !== undefined && cpus === undefined)
    throw new UserError(`--cpu ${text}: write numbers of processors, such as 0,2-4.`);
  return cpus;
}

export function parseRatio(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ratio = Number(text);
  if (!(ratio > 0 && ratio <= 1))
    throw new UserError(`--${flag} ${text}: a number above 0, up to 1, is needed (0.2 keeps 20 %).`);
  return ratio;
}

export function engineOptions(model: LoadedModel, policies: BuiltPolicy[], flags: EngineFlags): EngineOptions {
  const dtype = flags.kvCacheDtype === 'auto' ? undefined : flags.kvCacheDtype;
  if (dtype !== undefined && dtype !== 'bf16' && dtype !== 'f32')
    throw new UserError(`--kv-cache-dtype ${dtype}: auto, bf16 and f32 are possible.`);
  return {
    model,
    policies,
    ratio: parseRatio('sparse-kv-cache-ratio', flags.sparseKvCacheRatio),
    kvType: dtype,
    kvCacheBytes: parseBytes('kv-cache-memory', flags.kvCacheMemory),
    maxBatchedTokens: positive('max-num-batched-tokens', flags.maxNumBatchedTokens),
    maxSeqs: positive('max-num-seqs', flags.maxNumSeqs),
    maxModelLen: positive('max-model-len', flags.maxModelLen),
    threads: positive('threads', flags.threads),
    cpus: parseCpus(flags.cpu),
    note: (line) => note(`skv: ${line}`),
    prefixCache: flags.enablePrefixCaching,
  };
}

export async function openEngine(
  model: LoadedModel,
  policies: BuiltPolicy[],
  flags: EngineFlags = {},
): Promise<Engine> {
  return Engine.create(engineOptions(model, policies, flags));
}
