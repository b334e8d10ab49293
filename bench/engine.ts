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
}

/** An engine in a process of its own, so that its memory is its own. */
interface Running {
  name: string;
  child: Child;
  ready: SkvReady;
}

const BUDGET = 672;
/**
 * Full cache, the base, and policies with parameters that keep BUDGET slots a head while `steps` tokens are generated: as a
 * mean where the slots grow.
 */
const systems = (steps: number): Pick<SkvSetup, 'policy' | 'params'>[] => [
  { policy: 'none' },
  { policy: 'none' },
  { policy: 'streaming', params: { budget: BUDGET } },
  { policy: 'h2o', params: { budget: BUDGET, recent: 128 } },
  { policy: 'tova', params: { budget: BUDGET } },
  { policy: 'snapkv', params: { budget: BUDGET - steps / 2 } },
];

async function start(
  more: Pick<SkvSetup, 'policy' | 'params'>,
  common: Omit<SkvSetup, 'policy' | 'params'>,
): Promise<Running> {
  return { name: more.policy, ...(await startSkv(`skv with ${more.policy}`, { ...common, ...more })) };
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

const whole: Sizes = {
  lengths: [128, 512, 2048, 7000],
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

export async function engineBench(
  { model, runs, quick = false }: EngineBenchOptions,
  progress: (line: string) => void,
): Promise<Report> {
  const about = machine();
  const sizes = quick ? short : whole;
  const { long, steps, contexts } = sizes;
  const [file] = model.spec.files;
  const folder = mkdtempSync(join(tmpdir(), 'skv-engine-'));
  const tokens = join(folder, 'tokens.json');
  writeFileSync(tokens, JSON.stringify([...model.tokenizer.encode(mobyDick().slice(0, 80_000))].slice(0, 16_000)));
  const context = Math.max(...contexts, ...sizes.lengths) + 64;
  const common = { model: file, tokens, cpus: about.cores, threads: about.cores.length, sequences: 8, context };
  const running: Running[] = [];
  try {
    for (const each of systems(steps)) {
      const room = each.policy === 'none' ? common : { ...common, pool: undefined, context: long + steps + 64 };
      running.push(await start(each, room));
      await alone(running.at(-1)!, single(64, 8)); // warm-up
    }
    const [none, base, ...evicting] = running;
    const speed = await measureSpeed(none, runs, sizes, progress);
    const subject = ({ name, child }: Running, length = long) => ({ name, child, length });
    const byPolicy = await costs(
      subject(none),
      { ...subject(base, BUDGET), name: `none, ${BUDGET} slots` },
      evicting.map((one) => subject(one)),
      runs,
      steps,
      progress,
    );
    const memory: Cell[][] = [];
    for (const one of [none, ...evicting])
      memory.push(await memoryOf(one, model, one === none ? Math.max(...contexts) : long));
    const server = await startServer(['--model', file]);
    await server.stop();
    return {
      name: 'engine',
      command: `skv bench engine --runs ${runs}${quick ? ' --quick' : ''}`,
      machine: about,
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
  } finally {
    for (const { child } of running) await child.close();
    rmSync(folder, { recursive: true, force: true });
  }
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
