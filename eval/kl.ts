/**
 * How far a model's answers are from those of its own weights with exact activations: Kullback–Leibler divergence and what
 * it does to a text's tokens. Truth is this engine with activations and cache in f32.
 */
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { Engine } from '../runtime/engine/engine.ts';
import type { EngineOptions } from '../runtime/engine/types.ts';
import type { LoadedModel } from '../runtime/model/types.ts';

/** A system that reads a text token by token and says what it expects next. */
export interface Reader {
  readonly name: string;
  /** Logits [count][vocab], one row after each of tokens [from, from + count). Reads go forward. */
  read(from: number, count: number): Promise<Float32Array[]>;
  close(): Promise<void>;
}

export interface Divergence {
  name: string;
  /** fraction of tokens whose likeliest successor is truth's */
  topAgrees: number;
  /** |difference| of the log-probability of the text's next token, nats */
  mean: number;
  /** of 95 % of the tokens at most this */
  percentile95: number;
  worst: number;
  /** mean of Σ p · log(p / q), nats a token: p of truth, q of this reader */
  kl: number;
}

/** Tokens that are read before the readers are compared: rows of logits that are held at a time, for each reader. */
const CHUNK = 32;

/** skv with a full cache: what is served, or truth. */
export async function skvReader(
  name: string,
  model: LoadedModel,
  none: BuiltPolicy,
  tokens: Int32Array,
  options: Pick<EngineOptions, 'kvType' | 'activations' | 'threads'>,
): Promise<Reader> {
  const engine = await Engine.create({
    model,
    policies: [none],
    maxSeqs: 1,
    maxBatchedTokens: 128,
    maxModelLen: Math.min(tokens.length + 1, model.maxPosition),
    ...options,
  });
  return {
    name,
    async read(from, count) {
      const rows: Float32Array[] = [];
      const generation = engine.submit({
        // what was read before is in the prefix cache
        prompt: tokens.subarray(0, from + 1),
        forced: tokens.subarray(from + 1, from + count + 1),
        maxTokens: count,
        onLogits: (logits) => rows.push(logits),
      });
      for await (const _ of generation);
      const { error } = await generation.finished;
      if (error) throw error;
      return rows;
    },
    close: () => engine.close(),
  };
}

/** Log-probabilities from logits, in place; the most likely token. */
export function normalise(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  const top = logits[best];
  let sum = 0;
  for (const each of logits) sum += Math.exp(each - top);
  const norm = top + Math.log(sum);
  for (let i = 0; i < logits.length; i++) logits[i] -= norm;
  return best;
}

/** Σ p · log(p / q) of log-probabilities, nats. */
export function klOf(truth: Float32Array, other: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < truth.length; i++) {
    const p = Math.exp(truth[i]);
    if (p > 0) sum += p * (truth[i] - other[i]); // what is impossible adds nothing
  }
  return sum;
}

const mean = (xs: readonly number[]) => xs.reduce((sum, x) => sum + x, 0) / xs.length;

/** Compares readers with truth on tokens[1 … ] of a text; `told` hears how many have been compared. */
export async function divergence(
  truth: Reader,
  readers: readonly Reader[],
  tokens: Int32Array,
  told?: (done: number) => void,
): Promise<Divergence[]> {
  const seen = readers.map(() => ({ agreed: 0, distances: [] as number[], kls: [] as number[] }));
  for (let from = 0; from < tokens.length - 1; from += CHUNK) {
    const count = Math.min(CHUNK, tokens.length - 1 - from);
    const expected = await truth.read(from, count);
    const tops = expected.map(normalise);
    for (const [r, reader] of readers.entries()) {
      const rows = await reader.read(from, count);
      for (const [i, row] of rows.entries()) {
        if (row.length !== expected[i].length)
          throw new Error(`${reader.name} has ${row.length} tokens, truth ${expected[i].length}.`);
        const next = tokens[from + i + 1];
        if (normalise(row) === tops[i]) seen[r].agreed++;
        seen[r].distances.push(Math.abs(row[next] - expected[i][next]));
        seen[r].kls.push(klOf(expected[i], row));
      }
    }
    told?.(from + count);
  }
  return seen.map(({ agreed, distances, kls }, r) => {
    const sorted = distances.toSorted((a, b) => a - b);
    return {
      name: readers[r].name,
      topAgrees: agreed / distances.length,
      mean: mean(distances),
      percentile95: sorted[Math.ceil(0.95 * sorted.length) - 1],
      worst: sorted[sorted.length - 1],
      kl: mean(kls),
    };
  });
}
