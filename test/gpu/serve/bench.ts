/**
 * `./gpu.sh bench-serve [FLAGS of skv serve]`: every policy and the full cache under the same load in the same memory, by
 * default on random weights of an 8B shape. One request alone says how fast a user is answered, a crowd how many are.
 */
import { metrics } from '../../../bench/client.ts';
import { median } from '../../../bench/measure.ts';
import { figure } from '../../../bench/report.ts';
import { type LoadResult, runLoad } from '../../../bench/runload.ts';
import type { Target } from '../../../bench/server.ts';
import { random } from '../../../codegen/oracle/random.ts';
import { Server, within } from './server.ts';
import { Table } from './table.ts';

const number = (name: string, fallback: number) => Number(process.env[name] ?? fallback);
/** What a request is, how many there are, and how often one alone is sent. */
const [PROMPT, OUTPUT, REQUESTS, ALONE] = [
  number('PROMPT', 7680),
  number('OUTPUT', 256),
  number('REQUESTS', 64),
  number('ALONE', 3),
];
const [RATIO, MEMORY] = [process.env.RATIO ?? '0.125', process.env.MEMORY ?? '16GiB'];
/** Seconds that a policy's load may take once its server runs. */
const LOAD = number('LOAD_LIMIT', 100);
const policies = (process.env.POLICIES ?? 'none,h2o,snapkv,streaming,tova,keydiff').split(',');

const given = process.argv.slice(2);
const defaults: string[][] = [
  ...(given.includes('--model')
    ? []
    : [
        ['--load-format', 'dummy'],
        ['--shape', 'llama-3-8b'],
      ]),
  ...[['--kv-cache-memory', MEMORY], ['--sparse-kv-cache-ratio', RATIO], ['--no-enable-prefix-caching']],
  ...[
    ['--max-num-seqs', '256'],
    ['--max-model-len', String(PROMPT + OUTPUT)],
  ],
];
/** A ratio is refused where it concerns nobody. */
const concerns = (flag: string, names: readonly string[]) =>
  flag !== '--sparse-kv-cache-ratio' || names.some((name) => name !== 'none');
/** A server for these policies; what was asked for goes before our own. */
const serverFor = (names: readonly string[]) =>
  new Server([
    ...defaults.filter(([flag]) => !given.includes(flag) && concerns(flag, names)).flat(),
    ...names.flatMap((name) => ['--sparse-kv-cache-type', name]),
    ...given,
  ]);

const fixed = (value: number) => ({ kind: 'fixed', value }) as const;
/** So many requests at once. Prompts are bytes, and no two are the same. */
function load({ url }: Target, policy: string, requests: number, seed: number): Promise<LoadResult> {
  const next = random(seed);
  const spec = {
    ...{ rate: 1e9, requests, prompt: fixed(PROMPT), output: fixed(OUTPUT), seed },
    policies: [{ name: policy, weight: 1 }],
  };
  const prompt = () => Array.from({ length: PROMPT }, () => 32 + Math.floor(next() * 95));
  return runLoad(url, spec, { ttft: 60, itl: 1 }, prompt);
}

const table = new Table('bench-serve.md', [
  'policy',
  'alone: TTFT, ms',
  'alone: ITL p50 / p99, ms',
  'tok/s out',
  '× full',
  'held, mean / most',
  'KV at most, GiB',
  'TTFT p50 / p99, s',
  'ITL p50 / p99, ms',
  'preemptions',
  'failed',
]);

const milliseconds = (seconds: number): string => figure(1000 * seconds);
let full: number | undefined;

/** A policy's row. */
async function measured(target: Target, policy: string): Promise<void> {
  await load(target, policy, 1, 1); // warm-up
  const alone: LoadResult[] = [];
  for (let i = 0; i < ALONE; i++) alone.push(await load(target, policy, 1, 2 + i));
  const crowd = await load(target, policy, REQUESTS, 100);
  if (policy === 'none') full = crowd.throughput;
  table.row([
    policy,
    milliseconds(median(alone.map(({ ttft }) => ttft.p50))),
    [median(alone.map(({ itl }) => itl.p50)), median(alone.map(({ itl }) => itl.p99))].map(milliseconds).join(' / '),
    figure(crowd.throughput),
    full ? figure(crowd.throughput / full) : '',
    `${figure(crowd.meanRunning)} / ${crowd.mostRunning}`,
    figure(crowd.mostBytes / 2 ** 30),
    [crowd.ttft.p50, crowd.ttft.p99].map(figure).join(' / '),
    [crowd.itl.p50, crowd.itl.p99].map(milliseconds).join(' / '),
    crowd.preemptions,
    crowd.failed ? `${crowd.failed}: ${crowd.failure}` : '0',
  ]);
}

let server = serverFor(policies);
let told = '';
let failed = 0;
for (const policy of policies)
  try {
    const target = await server.ready().catch(() => {
      server = serverFor([policy]); // they do not start together
      return server.ready();
    });
    const total = (await metrics(target.url)).get('skv:kv_cache_bytes_total') ?? 0;
    told = `A pool of ${figure(total / 2 ** 30)} GiB, ready after ${target.readySeconds!.toFixed(1)} s.`;
    await within(LOAD, measured(target, policy));
  } catch (error) {
    failed++;
    table.row([policy, `FAIL: ${(error as Error).message}`]);
    await server.stop(); // whatever still runs there would be in the next one's way
  }
await server.stop();
table.say(
  `\n${told} ${REQUESTS} requests at once of ${PROMPT} + ${OUTPUT} tokens, policies keep ${RATIO}; alone: median of ${ALONE} after one.`,
);
process.exit(failed ? 1 : 0);
