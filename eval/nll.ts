/** Teacher-forced mean negative log-likelihood of a text after a prefix whose cache a policy has thinned. */
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import { Engine } from '../runtime/engine/engine.ts';

export interface NllSpec {
  tokens: Int32Array;
  /** tokens of the prefix, then tokens that are judged */
  prefix: number;
  count: number;
  /** fraction of the sequence to keep, above 0, up to 1; instead of the policy's budget */
  ratio?: number;
  params?: Readonly<Record<string, number>>;
  /** told what the user should know */
  note?: (line: string) => void;
}

export interface Nll {
  /** nats a token */
  nll: number;
  cacheBytes: number;
  peakCacheBytes: number;
}

export async function nll(model: LoadedModel, policy: BuiltPolicy, spec: NllSpec): Promise<Nll> {
  const { tokens, prefix, count, ratio, params, note } = spec;
  const engine = await Engine.create({ model, policies: [policy], maxSeqs: 1, note });
  try {
    const generation = engine.submit({
      prompt: tokens.subarray(0, prefix),
      forced: tokens.subarray(prefix, prefix + count),
      maxTokens: count,
      params: params ?? {},
      ratio,
    });
    let sum = 0;
    for await (const { logprob } of generation) sum -= logprob!;
    const { error, cacheBytes, peakCacheBytes } = await generation.finished;
    if (error) throw error;
    return { nll: sum / count, cacheBytes, peakCacheBytes };
  } finally {
    await engine.close();
  }
}
