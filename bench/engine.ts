/**
 * `skv bench engine`: the engine as a whole, without HTTP: prefill by length, decode by context and by batch, what a policy
 * costs and saves, memory, the time between native steps, and the time until it is ready.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LoadedModel } from '../runtime/model/types.ts';
import { Child } from './child.ts';
import { machine } from './machine.ts';
import { costs } from './costs.ts';
import { type Spread, median, spread } from './measure.ts';
import type { Work } from './peers/protocol.ts';
import type { SkvReady, SkvSetup, SkvWorked } from './peers/skv.ts';
import { type Cell, type Report, figure, percent, ranged } from './report.ts';
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
  const script = join(dirname(fileURLToPath(import.meta.url)), 'peers', 'skv.ts');
  const child = Child.start(`skv with ${more.policy}`, process.execPath, [
    '--import',
    'tsx',
    script,
    JSON.stringify({ ...common, ...more }),
  ]);
  return { name: more.policy, child, ready: await child.hear<SkvReady>() };
}

const single = (length: number, count: number): Work => ({ prompts: [[0, length]], count });
const prefillRate = ({ first }: SkvWorked, length: number): number => length / first[0];
const decodeRate = ({ steady }: SkvWorked): number => steady.tokens / steady.seconds;

export async function engineBench(
  { model, runs, quick = false }: EngineBenchOptions,
  progress: (line: string) => void,
): Promise<Report> {
  const about = machine();
  const { layers, kvHeads, headDim, files } = model.spec;
  const folder = mkdtempSync(join(tmpdir(), 'skv-engine-'));
  const tokens = join(folder, 'tokens.json');
  writeFileSync(tokens, JSON.stringify([...model.tokenizer.encode(mobyDick().slice(0, 80_000))].slice(0, 16_000)));
  const [lengths, contexts, batches] = quick
    ? [
        [128, 512],
        [128, 1024],
        [1, 8],
      ]
    : [
        [128, 512, 2048, 7000],
        [128, 1024, 4096, 8000],
        [1, 2, 4, 8],
      ];
  const [count, steps, long, batchContext] = quick ? [16, 100, 1024, 256] : [32, 400, 4096, 1024];
  const common = {
    model: files[0],
    tokens,
    cpus: about.cores,
    threads: about.cores.length,
    sequences: 8,
    context: Math.max(...contexts, ...lengths) + 64,
  };
  const running: Running[] = [];
  const alone = ({ child }: Running, work: Work) => child.until(child.ask<SkvWorked>(work));
  try {
    for (const each of systems(steps)) {
      running.push(
        await start(each, each.policy === 'none' ? common : { ...common, pool: undefined, context: long + steps + 64 }),
      );
      await alone(running.at(-1)!, single(64, 8)); // warm-up
    }
    const [none, base, ...evicting] = running;
    const repeat = async (work: Work, of: (worked: SkvWorked) => number): Promise<Spread> => {
      const values: number[] = [];
      for (let i = 0; i < runs; i++) values.push(of(await alone(none, work)));
      return spread(values);
    };
    const prefill = new Map<number, Spread>();
    for (const n of lengths) {
      prefill.set(n, await repeat(single(n, 1), (worked) => prefillRate(worked, n)));
      progress(`prefill ${n}: ${ranged(prefill.get(n)!)} tok/s`);
    }
    const decode = new Map<number, Spread>();
    for (const n of contexts) {
      decode.set(n, await repeat(single(n, count), decodeRate));
      progress(`decode at ${n}: ${ranged(decode.get(n)!)} tok/s`);
    }
    const batched = new Map<number, { rate: Spread; between: number }>();
    for (const n of batches) {
      // long enough that what JavaScript does between steps has been compiled
      const work = {
        prompts: Array.from({ length: n }, (_, i): [number, number] => [1 + i * 700, batchContext]),
        count: 4 * count,
      };
      const between: number[] = [];
      const rate = await repeat(work, (worked) => {
        between.push(worked.between);
        return decodeRate(worked);
      });
      batched.set(n, { rate, between: median(between) });
      progress(
        `batch ${n} at ${batchContext}: ${ranged(rate)} tok/s, ${figure(median(between) * 1e6)} µs between native steps`,
      );
    }
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
    for (const one of [none, ...evicting]) {
      const { peakRss, stats } = await alone(one, single(one === none ? Math.max(...contexts) : long, 1));
      const [weights, pool] = [
        model.spec.tensors.reduce((sum, { bytes }) => sum + bytes, 0),
        stats.pagesTotal * stats.pageBytes,
      ];
      memory.push([
        one.name,
        weights / 2 ** 20,
        pool / 2 ** 20,
        peakRss / 2 ** 20,
        percent(peakRss / (weights + pool)),
        one.ready.seconds,
      ]);
    }
    const server = await startServer(['--model', files[0]]);
    await server.stop();
    const slotBytes = layers * kvHeads * headDim * 4;
    return {
      name: 'engine',
      command: `skv bench engine --runs ${runs}${quick ? ' --quick' : ''}`,
      machine: about,
      tables: [
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
            (n * batched.get(batches[0])!.rate.median) / rate.median / batches[0],
            between * 1e6,
            rate.n,
          ]),
        },
        byPolicy.table,
        {
          title: 'Memory and start, one process each',
          head: ['policy', 'weights, MiB', 'pool, MiB', 'peak RSS, MiB', 'of weights + pool', 'engine ready, s'],
          rows: memory,
        },
      ],
      plots: [
        {
          name: 'decode',
          title: 'Decode by context, one sequence',
          kind: 'line',
          x: 'context (tokens)',
          y: 'tokens / s',
          logX: true,
          values: [...decode].map(([x, { median: y, min: low, max: high }]) => ({
            series: 'full cache',
            x,
            y,
            low,
            high,
          })),
        },
      ],
      notes: [
        `skv serve answered ${figure(server.readySeconds!)} s after the start of its process, with a warm file cache and built policies; "engine ready" is the same without HTTP.`,
        'Between native steps: from the moment a step’s promise has settled until the next step is called, while there is work: scheduling, writing the batch, handing out tokens. The hop from and to the engine’s thread is counted in the native step.',
        'The pool is reserved, not touched: resident memory grows with the tokens that are held.',
      ],
      data: {
        prefill: [...prefill],
        decode: [...decode],
        batched: [...batched],
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
