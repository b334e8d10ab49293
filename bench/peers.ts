/**
 * skv beside llama.cpp on the same file, machine and run: prefill and decode by context, the two taking turns. Ratios of
 * medians are what counts; absolute numbers move with the machine.
 */
import { readFileSync } from 'node:fs';
import { build, shipped } from '../codegen/build.ts';
import { Engine } from '../runtime/engine/engine.ts';
import { loadModel } from '../runtime/model/load.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import { findProcessors } from '../runtime/native/processors.ts';
import { mobyDick } from './text.ts';

export interface PeerOptions {
  model: string;
  runs: number;
  quick?: boolean;
}

/** One system under test: tokens per second for a prompt of n, and for `count` tokens after a context of n. */
interface Subject {
  readonly name: string;
  prefill(n: number): Promise<number>;
  decode(context: number, count: number): Promise<number>;
  close(): Promise<void>;
}

async function skvSubject(
  name: string,
  model: LoadedModel,
  policy: string,
  ratio: number | undefined,
  tokens: Int32Array,
): Promise<Subject> {
  const engine = await Engine.create({
    model,
    policies: [await build(shipped(policy)!)],
    ratio,
    maxSeqs: 1,
    prefixCache: false,
    kvCacheBytes: 256 << 20,
  });
  const timed = async (n: number, count: number) => {
    const generation = engine.submit({ prompt: tokens.subarray(0, n), maxTokens: count });
    const { firstTokenSeconds = 0, totalSeconds, error } = await generation.finished;
    if (error) throw error;
    return { first: firstTokenSeconds, rest: totalSeconds - firstTokenSeconds };
  };
  return {
    name,
    prefill: async (n) => n / (await timed(n, 1)).first,
    decode: async (n, count) => count / (await timed(n, count + 1)).rest,
    close: () => engine.close(),
  };
}

/** llama.cpp as node-llama-cpp ships it. Its threads cannot be pinned from outside without making it slower. */
async function llamaSubject(file: string, cpus: readonly number[]): Promise<Subject> {
  const { getLlama } = await import('node-llama-cpp');
  const llama = await getLlama({ build: 'never', gpu: false, maxThreads: cpus.length });
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ contextSize: 4608, batchSize: 512, threads: cpus.length });
  const sequence = context.getSequence();
  const tokens = model.tokenize(mobyDick().slice(0, 40_000));
  const read = async (n: number) => {
    await sequence.clearHistory();
    await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(0, n));
  };
  return {
    name: 'llama.cpp',
    async prefill(n) {
      await sequence.clearHistory();
      const start = performance.now();
      await sequence.evaluateWithoutGeneratingNewTokens(tokens.slice(0, n));
      return n / ((performance.now() - start) / 1000);
    },
    async decode(n, count) {
      await read(n - 1);
      const start = performance.now();
      let first = start;
      let got = 0;
      for await (const _ of sequence.evaluate(tokens.slice(n - 1, n), { temperature: 0 })) {
        if (got++ === 0) first = performance.now();
        if (got > count) break;
      }
      return count / ((performance.now() - first) / 1000);
    },
    async close() {
      await context.dispose();
      await model.dispose();
    },
  };
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

export interface PeerRow {
  what: string;
  subject: string;
  runs: number;
  median: number;
  min: number;
  max: number;
  /** against llama.cpp in the same run, undefined when it is missing */
  ratio?: number;
}

/** Measures every subject at every size, taking turns, after one warm-up each. */
export async function peers(
  options: PeerOptions,
  progress: (line: string) => void,
): Promise<{ rows: PeerRow[]; machine: string; missing?: string }> {
  const model = await loadModel(options.model);
  const cpus = findProcessors().physical;
  const tokens = model.tokenizer.encode(mobyDick().slice(0, 40_000));
  const subjects: Subject[] = [
    await skvSubject('skv full', model, 'none', undefined, tokens),
    await skvSubject('skv h2o 20 %', model, 'h2o', 0.2, tokens),
  ];
  let missing: string | undefined;
  try {
    subjects.push(await llamaSubject(model.spec.files[0], cpus));
  } catch (error) {
    missing = `llama.cpp was not measured: ${(error as Error).message}`;
  }
  const contexts = options.quick ? [128, 1024] : [128, 1024, 4096];
  const prompts = options.quick ? [512] : [512, 2048];
  const tests = [
    ...prompts.map((n) => ({ what: `prefill ${n}`, run: (subject: Subject) => subject.prefill(n) })),
    ...contexts.map((n) => ({ what: `decode at ${n}`, run: (subject: Subject) => subject.decode(n, 32) })),
  ];
  for (const subject of subjects) await subject.decode(128, 8);
  const rows: PeerRow[] = [];
  for (const { what, run } of tests) {
    const seen = new Map(subjects.map((subject) => [subject.name, [] as number[]]));
    for (let i = 0; i < options.runs; i++)
      for (const subject of subjects) seen.get(subject.name)!.push(await run(subject));
    const peer = seen.get('llama.cpp');
    for (const [subject, values] of seen) {
      const row = {
        what,
        subject,
        runs: values.length,
        median: median(values),
        min: Math.min(...values),
        max: Math.max(...values),
        ratio: peer && subject !== 'llama.cpp' ? median(values) / median(peer) : undefined,
      };
      rows.push(row);
      progress(
        `${what.padEnd(16)} ${subject.padEnd(14)} ${row.median.toFixed(0).padStart(6)} tok/s  (${row.min.toFixed(0)} … ${row.max.toFixed(0)}, n = ${row.runs})${row.ratio ? `  ${row.ratio.toFixed(2)} × llama.cpp` : ''}`,
      );
    }
  }
  for (const subject of subjects) await subject.close();
  const cpu = readFileSync('/proc/cpuinfo', 'utf8').match(/model name\s*:\s*(.*)/)?.[1] ?? 'unknown processor';
  return { rows, machine: `${cpu}, ${cpus.length} cores, skv with one pinned thread each`, missing };
}
