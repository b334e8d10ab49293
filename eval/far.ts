/**
 * How far back each KV head looks: the part of its attention that lies outside sinks and window, which is what a head loses
 * that keeps those alone. The measure behind the gates of duo.
 */
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { Engine } from '../runtime/engine/engine.ts';
import type { LoadedModel } from '../runtime/model/types.ts';

export interface FarSpec {
  tokens: Int32Array;
  sinks: number;
  recent: number;
  note?: (line: string) => void;
}

/**
 * [layer][KV head], 0 … 1: the mean over the queries that have such slots, and over the head's query group. `measuring` is
 * far-policy.ts, built.
 */
export async function far(model: LoadedModel, measuring: BuiltPolicy, spec: FarSpec): Promise<number[][]> {
  const { tokens, sinks, recent, note } = spec;
  const { layers, kvHeads } = model.spec;
  const engine = await Engine.create({ model, policies: [measuring], maxSeqs: 1, prefixCache: false, note });
  const queries = Math.max(1, tokens.length - sinks - recent);
  try {
    let found: number[][] = [];
    const generation = engine.submit({
      prompt: tokens,
      maxTokens: 1,
      params: { sinks, recent },
      onCompaction: (_, state) => {
        found = Array.from({ length: layers }, (_, layer) =>
          Array.from({ length: kvHeads }, (_, head) => sum(state(layer, head, 'far')) / queries),
        );
      },
    });
    const { error } = await generation.finished;
    if (error) throw error;
    return found;
  } finally {
    await engine.close();
  }
}

const sum = (values: Float32Array): number => values.reduce((total, each) => total + each, 0);

/** Each number's place among all of them, 0 … 1: the part of the others that are smaller; equals share the mean of theirs. */
export function ranked(values: readonly (readonly number[])[]): number[][] {
  const all = values.flat();
  const place = (value: number): number => {
    const below = all.filter((each) => each < value).length;
    const equal = all.filter((each) => each === value).length - 1;
    return all.length > 1 ? (below + equal / 2) / (all.length - 1) : 1;
  };
  return values.map((row) => row.map((value) => Number(place(value).toFixed(4))));
}
