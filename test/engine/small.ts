/** Engines on a tiny random model, for tests of scheduling rather than of arithmetic. */
import { build, shipped } from '../../codegen/build.ts';
import type { BuiltPolicy } from '../../codegen/plan/types.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import type { EngineOptions, Finished, GenerateRequest, Generation } from '../../runtime/engine/types.ts';
import type { Tiny } from '../oracle/tiny.ts';
import { random } from '../../codegen/oracle/random.ts';

/** Parameters of every shipped policy for short prompts; windows count positions, as budgets do. */
export const budgetsOf = (budget: number, window: number): Record<string, Record<string, number>> => ({
  none: {},
  streaming: { budget },
  h2o: { budget, recent: 2 * window },
  tova: { budget },
  snapkv: { budget, window },
  pyramidkv: { budget, window },
  adakv: { budget, window },
  adasnapkv: { budget, window: window / 2 },
  chunkkv: { budget: budget + 10, window }, // a chunk more: it keeps whole ones
  knorm: { budget },
  keydiff: { budget },
  vatp: { budget, recent: window, sinks: 4 },
  a2sf: { budget, block: 16 }, // its prompts are thinned while they are read
  lagkv: { budget, lag: window, sinks: 4 },
  scissorhands: { budget, drop: window, history: 3 * window, recent: window },
  randomattn: { budget: 8, every: 4 }, // besides the prompt
  vase: { budget, recent: window, large: window },
  fastgen: { recovers: 0.7 },
});
/** Budgets that small prompts exceed. */
export const smallBudgets = budgetsOf(40, 8);
export const policyNames = Object.keys(smallBudgets);
let built: Promise<BuiltPolicy[]> | undefined;
const allPolicies = () => (built ??= Promise.all(policyNames.map((name) => build(shipped(name)!))));

export async function smallEngine(model: Pick<Tiny, 'loaded'>, options: Partial<EngineOptions> = {}): Promise<Engine> {
  return Engine.create({
    model: model.loaded,
    policies: options.policies ?? (await allPolicies()),
    maxSeqs: 8,
    maxModelLen: 1024,
    kvCacheBytes: 64 << 20,
    check: true,
    pin: false, // another file's engine would be pinned to the same processors
    ...options,
  });
}

export function randomTokens(seed: number, count: number, vocab: number): Int32Array {
  const next = random(seed);
  return Int32Array.from({ length: count }, () => Math.floor(next() * vocab));
}

export async function tokensOf(generation: Generation): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of generation) tokens.push(token);
  return tokens;
}

export interface Outcome {
  tokens: number[];
  finished: Finished;
}

export async function outcome(engine: Engine, request: GenerateRequest): Promise<Outcome> {
  const generation = engine.submit(request);
  return { tokens: await tokensOf(generation), finished: await generation.finished };
}
