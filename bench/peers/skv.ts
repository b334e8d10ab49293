/** skv as one of the systems under test. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { PAGE } from '../../runtime/contract/records.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { peakRss } from '../machine.ts';
import type { EngineStats } from '../../runtime/engine/types.ts';
import { median } from '../measure.ts';
import { type Setup, type Work, type Worked, steadyOf } from './protocol.ts';

/** What skv tells beyond the others. */
export interface SkvReady {
  /** since the start of its process */
  seconds: number;
}
export interface SkvWorked extends Worked {
  stats: EngineStats;
  /** mean seconds between native steps while all sequences generate */
  between: number;
  /** when each step ended, in milliseconds of the wall clock */
  ticks: number[];
  /** steps until every prompt had its first token */
  promptSteps: number;
  /** slots of a head's pages in use, as a median of the steps in which all generated; of work that tells */
  slots?: number;
}

export interface SkvWork extends Work {
  /** also answer SkvTold after every step until all prompts have their first token: whoever asked may stop us there */
  tell?: boolean;
}
export interface SkvTold {
  /** every prompt has its first token */
  begun: boolean;
}

/** Beside the common ones: the policy, and either a ratio or its parameters. */
export interface SkvSetup extends Setup {
  policy: string;
  ratio?: number;
  params?: Record<string, number>;
  /** bytes of the pool; default: enough for all sequences in full */
  pool?: number;
  /** prompts are found again; default: each is read */
  prefixCache?: boolean;
}

async function work(
  engine: Engine,
  tokens: number[],
  { policy, params }: SkvSetup,
  { prompts, count, tell }: SkvWork,
): Promise<SkvWorked> {
  const start = performance.now();
  const ticks: number[] = [];
  const pages: number[] = [];
  const told = (begun: boolean) => tell && answer({ begun } satisfies SkvTold);
  engine.onStep = () => {
    ticks.push(performance.timeOrigin + performance.now());
    if (!marks.from) told(false);
    else if (tell && !marks.to) pages.push(engine.stats().pagesUsed);
  };
  const since = () => (performance.now() - start) / 1000;
  const first: number[] = [];
  const generated: number[][] = prompts.map(() => []);
  let promptSteps = 0;
  const total = () => generated.reduce((sum, { length }) => sum + length, 0);
  /** when all had begun, and when the first was done: seconds and tokens so far, and what the engine had counted */
  const marks: { from?: [number, number, EngineStats]; to?: [number, number, EngineStats] } = {};
  const now = (): [number, number, EngineStats] => [since(), total(), engine.stats()];
  await Promise.all(
    prompts.map(async ([at, length], i) => {
      const generation = engine.submit({
        prompt: tokens.slice(at, at + length),
        maxTokens: count + 1,
        policy,
        params,
      });
      for await (const { token } of generation) {
        generated[i].push(token);
        if (first[i] === undefined) {
          first[i] = since();
          if (Object.keys(first).length === prompts.length) {
            marks.from = now();
            promptSteps = ticks.length;
            told(true);
          }
        }
      }
      marks.to ??= now();
      const { error } = await generation.finished;
      if (error) throw error;
    }),
  );
  const [seconds0, tokens0, begun] = marks.from!;
  const [seconds1, tokens1, done] = marks.to!;
  const between = (done.betweenSeconds - begun.betweenSeconds) / Math.max(1, done.steps - begun.steps);
  const steady = steadyOf([seconds0, tokens0], [seconds1, tokens1]);
  return {
    first,
    steady,
    between,
    seconds: since(),
    generated,
    peakRss: peakRss(),
    stats: engine.stats(),
    ticks,
    promptSteps,
    slots: tell ? (median(pages) * PAGE) / (layers * kvHeads * prompts.length) : undefined,
  };
}

const answer = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

const setup = JSON.parse(process.argv[2]) as SkvSetup;
const model = await loadModel(setup.model);
const { layers, kvHeads, headDim } = model.spec;
const full = (setup.context + 64) * layers * kvHeads * headDim * 4 * setup.sequences;
const engine = await Engine.create({
  model,
  policies: [await build(shipped(setup.policy)!)],
  ratio: setup.ratio,
  maxSeqs: setup.sequences,
  prefixCache: setup.prefixCache ?? false,
  kvCacheBytes: setup.pool ?? full * 1.15,
  threads: setup.threads,
  pin: setup.cpus.length > 0,
});
const tokens = JSON.parse(readFileSync(setup.tokens, 'utf8')) as number[];
answer({ ready: `skv, ${setup.policy}`, seconds: performance.now() / 1000 });
for await (const line of createInterface({ input: process.stdin }))
  await work(engine, tokens, setup, JSON.parse(line)).then(answer, (error: Error) => answer({ error: error.message }));
await engine.close();
