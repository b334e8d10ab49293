/**
 * `skv bench engine`: the engine as a whole, without HTTP: prefill by length, decode by context and by batch, what a policy
 * costs and saves, memory, the time between native steps, and the time until it is ready.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadedModel } from '../runtime/model/types.ts';
import type { Child } from './child.ts';
import { machine } from './machine.ts';
import { type Costed, costed, KEPT } from './costed.ts';
import { costs } from './costs.ts';
import { type Spread, median, spread } from './measure.ts';
import type { Work } from './peers/protocol.ts';
import type { SkvReady, SkvSetup, SkvWorked } from './peers/skv.ts';
import { startSkv } from './peers/start.ts';
import type { Plot } from './plot.ts';
import { type Cell, type Report, type Table, figure, percent, ranged } from './report.ts';
import { startServer } from './server.ts';
import { mobyDick } from '../eval/text.ts';

export interface EngineBenchOptions {
  model: LoadedModel;
  runs: number;
  quick?: boolean;
  /** what these cost, and nothing else */
  policies?: readonly string[];
  /** tokens of the prompts by which they are compared, KEPT … LONGEST */
  context?: number;
}

/** An engine in a process of its own, so that its memory is its own. */
interface Running {
  name: string;
  /** of its prompt, where that is not the common one */
  length?: number;
  child: Child;
  ready: SkvReady;
}

/** Policies that are measured beside everything else. */
const USUAL = ['streaming', 'h2o', 'tova', 'snapkv', 'keydiff'];

async function start(
  { policy, params, length }: Costed,
  common: Omit<SkvSetup, 'policy' | 'params'>,
): Promise<Running> {
  return { name: policy, length, ...(await startSkv(`skv with ${policy}`, { ...common, policy, params })) };
}

const single = (length: number, count: number): Work => ({ prompts: [[0, length]], count });
const prefillRate = ({ first }: SkvWorked, length: number): number => length / first[0];
const decodeRate = ({ steady }: SkvWorked): number => steady.tokens / steady.seconds;

/** Lengths and counts of a run. */
interface Sizes {
  lengths: number[];
  contexts: number[];
  batches: number[];
  /** tokens generated for one sequence, and in turns of the policies */
  count: number;
  steps: number;
  /** context that policies are compared at, and of each sequence of a batch */
  long: number;
  batchContext: number;
}

/** The longest prompt. */
export const LONGEST = 7000;

const whole: Sizes = {
  lengths: [128, 512, 2048, LONGEST],
  contexts: [128, 1024, 4096, 8000],
  batches: [1, 2, 4, 8],
  count: 32,
  steps: 400,
  long: 4096,
  batchContext: 1024,
};
const short: Sizes = {
  lengths: [128, 512],
  contexts: [128, 1024],
  batches: [1, 8],
  count: 16,
  steps: 100,
  long: 1024,
  batchContext: 256,
};

const alone = ({ child }: Running, work: Work) => child.until(child.ask<SkvWorked>(work));

export async function engineBench(options: EngineBenchOptions, progress: (line: string) => void): Promise<Report> {
  const { model, runs, quick = false, policies = [] } = options;
  const usual = quick ? short : whole;
  const sizes = { ...usual, long: options.context ?? usual.long };
  const { long, steps, contexts } = sizes;
  const folder = mkdtempSync(join(tmpdir(), 'skv-engine-'));
  const tokens = join(folder, 'tokens.json');
  writeFileSync(tokens, JSON.stringify([...model.tokenizer.encode(mobyDick().slice(0, 80_000))].slice(0, 16_000)));
  const context = Math.max(...contexts, ...sizes.lengths, long + steps) + 64;
  const { cores: cpus } = machine();
  const common = { model: model.spec.files[0], tokens, cpus, threads: cpus.length, sequences: 8, context };
  const running: Running[] = [];
  try {
    for (const name of ['none', 'none', ...(policies.length ? policies : USUAL)]) {
      const room = name === 'none' ? common : { ...common, pool: undefined, context: long + steps + 64 };
      running.push(await start(costed(name, steps), room));
      await alone(running.at(-1)!, single(64, 8)); // warm-up
    }
    const at = options.context ? ` --context ${options.context}` : '';
    const command = `skv bench engine --runs ${runs}${quick ? ' --quick' : ''}${at}`;
    if (policies.length === 0) return { command, ...(await everything(running, options, sizes, progress)) };
    const { table, data } = await costsOf(running, runs, sizes, progress);
    const named = policies.map((name) => ` --policy ${name}`).join('');
    const report = { name: 'engine', command: command + named, machine: machine(), tables: [table] };
    return { ...report, plots: [], notes: [], data: { policies: data } };
  } finally {
    for (const { child } of running) await child.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What policies cost beside the first, the full cache, and the second, which is given as many slots as they keep. */
function costsOf(
  [none, base, ...evicting]: readonly Running[],
  runs: number,
  { long, steps }: Sizes,
  progress: (line: string) => void,
): ReturnType<typeof costs> {
  const subject = ({ name, child, length = long }: Running) => ({ name, child, length });
  return costs(
    subject(none),
    { ...subject(base), length: KEPT, name: `none, ${KEPT} slots` },
    evicting.map(subject),
    runs,
    steps,
    progress,
  );
}

async function everything(
  running: readonly Running[],
  { model, runs }: EngineBenchOptions,
  sizes: Sizes,
  progress: (line: string) => void,
): Promise<Omit<Report, 'command'>> {
  const [none, , ...evicting] = running;
  const speed = await measureSpeed(none, runs, sizes, progress);
  const byPolicy = await costsOf(running, runs, sizes, progress);
  const memory: Cell[][] = [];
  for (const one of [none, ...evicting])
    memory.push(await memoryOf(one, model, one === none ? Math.max(...sizes.contexts) : sizes.long));
  const server = await startServer(['--model', model.spec.files[0]]);
  await server.stop();
  return {
    name: 'engine',
    machine: machine(),
    tables: [...speedTables(speed, model, sizes), byPolicy.table, memoryTable(memory)],
    plots: [decodePlot(speed)],
    notes: [
      `skv serve answered ${figure(server.readySeconds!)} s after the start of its process, with a warm file cache and built policies; "engine ready" is the same without HTTP.`,
      'Between native steps: from the moment a step’s promise has settled until the next step is called, while there is work: scheduling, writing the batch, handing out tokens. The hop from and to the engine’s thread is counted in the native step.',
      'The pool is reserved, not touched: resident memory grows with the tokens that are held.',
    ],
    data: {
      prefill: [...speed.prefill],
      decode: [...speed.decode],
      batched: [...speed.batched],
      policies: byPolicy.data,
      memory,
      serverReady: server.readySeconds,
    },
  };
}

/** Tokens a second of the full cache, by length, context and batch. */
interface Speed {
  prefill: Map<number, Spread>;
  decode: Map<number, Spread>;
  /** with the seconds between native steps */
  batched: Map<number, { rate: Spread; between: number }>;
}

async function measureSpeed(
  none: Running,
  runs: number,
  { lengths, contexts, batches, count, batchContext }: Sizes,
  progress: (line: string) => void,
): Promise<Speed> {
  const repeat = async (work: Work, of: (worked: SkvWorked) => number): Promise<Spread> => {
    const values: number[] = [];
    for (let i = 0; i < runs; i++) values.push(of(await alone(none, work)));
    return spread(values);
  };
  const speed: Speed = { prefill: new Map(), decode: new Map(), batched: new Map() };
  for (const n of lengths) {
    const rate = await repeat(single(n, 1), (worked) => prefillRate(worked, n));
    speed.prefill.set(n, rate);
    progress(`prefill ${n}: ${ranged(rate)} tok/s`);
  }
  for (const n of contexts) {
    const rate = await repeat(single(n, count), decodeRate);
    speed.decode.set(n, rate);
    progress(`decode at ${n}: ${ranged(rate)} tok/s`);
  }
  for (const n of batches) {
    const prompts = Array.from({ length: n }, (_, i): [number, number] => [1 + i * 700, batchContext]);
    const gaps: number[] = [];
    // long enough that what JavaScript does between steps has been compiled
    const rate = await repeat({ prompts, count: 4 * count }, (worked) => {
      gaps.push(worked.between);
      return decodeRate(worked);
    });
    const between = median(gaps);
    speed.batched.set(n, { rate, between });
    progress(`batch ${n} at ${batchContext}: ${ranged(rate)} tok/s, ${figure(between * 1e6)} µs between native steps`);
  }
  return speed;
}

function speedTables({ prefill, decode, batched }: Speed, model: LoadedModel, { batchContext }: Sizes): Table[] {
  const { layers, kvHeads, headDim } = model.spec;
  const slotBytes = layers * kvHeads * slotBytesOf(headDim);
  const [[fewest, { rate: slowest }]] = batched;
  return [
    {
      title: 'Prefill, tokens a second',
      head: ['tokens', 'median (range)', 'n'],
      rows: [...prefill].map(([n, rate]) => [n, ranged(rate), rate.n]),
    },
    {
      title: 'Decode by context, one sequence',
      head: ['context', 'tok/s, median (range)', 'KV read a token, MiB', 'n'],
      rows: [...decode].map(([n, rate]) => [n, ranged(rate), (n * slotBytes) / 2 ** 20, rate.n]),
    },
    {
      title: `Decode by batch, ${batchContext} tokens of context each`,
      head: [
        'sequences',
        'tok/s, median (range)',
        'time of a step ÷ of batch 1',
        'µs between native steps, all generating',
        'n',
      ],
      rows: [...batched].map(([n, { rate, between }]) => [
        n,
        ranged(rate),
        (n * slowest.median) / rate.median / fewest,
        between * 1e6,
        rate.n,
      ]),
    },
  ];
}

/** Bytes of a slot's key and value in 16 bits. */
const slotBytesOf = (headDim: number): number => 2 * headDim * 2;

const decodePlot = ({ decode }: Speed): Plot => ({
  name: 'decode',
  title: 'Decode by context, one sequence',
  kind: 'line',
  x: 'context (tokens)',
  y: 'tokens / s',
  logX: true,
  values: [...decode].map(([x, { median: y, min: low, max: high }]) => ({ series: 'full cache', x, y, low, high })),
});

/** A row of the memory's table, after a prompt of `length`. */
async function memoryOf(one: Running, model: LoadedModel, length: number): Promise<Cell[]> {
  const { peakRss, stats } = await alone(one, single(length, 1));
  const weights = model.spec.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const pool = stats.pagesTotal * stats.pageBytes;
  const mebibytes = [weights, pool, peakRss].map((bytes) => bytes / 2 ** 20);
  return [one.name, ...mebibytes, percent(peakRss / (weights + pool)), one.ready.seconds];
}

const memoryTable = (rows: Cell[][]): Table => ({
  title: 'Memory and start, one process each',
  head: ['policy', 'weights, MiB', 'pool, MiB', 'peak RSS, MiB', 'of weights + pool', 'engine ready, s'],
  rows,
});
