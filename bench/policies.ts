/**
 * `skv bench policies`: what eviction buys. For each policy and share of the cache that is kept: tokens a second when more
 * requests wait than a fixed pool can hold, how many it holds, what the text's likelihood loses, and how many keys hidden in
 * long prompts are found.
 */
import { ANSWER, keyPrompts, keys } from '../eval/keys.ts';
import { nll } from '../eval/nll.ts';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import type { LoadSpec } from './load.ts';
import { machine } from './machine.ts';
import { type Spread, interleave, spread } from './measure.ts';
import type { Plot } from './plot.ts';
import { type Report, figure, percent, ranged } from './report.ts';
import { type LoadResult, runLoad } from './runload.ts';
import { promptsOf } from './serve.ts';
import { type Target, startServer } from './server.ts';

export interface PolicyBenchOptions {
  model: LoadedModel;
  /** built, with what `skv serve` calls each */
  policies: { name: string; built: BuiltPolicy }[];
  /** of the sequence that is kept */
  ratios: number[];
  /** bytes of the pool */
  pool: number;
  requests: number;
  prompt: number;
  output: number;
  runs: number;
  /** of the likelihood: a long text's, of which `prefix` come before the `count` that are judged */
  tokens: Int32Array;
  prefix: number;
  count: number;
}

interface Variant {
  name: string;
  policy: { name: string; built: BuiltPolicy };
  ratio?: number;
}

interface Bought {
  variant: string;
  ratio: number;
  throughput: Spread;
  /** requests running at once while some wait */
  held: Spread;
  preemptions: number;
  nll: number;
  difference: number;
  keys: number;
}

/** Keys to find: prompts, and tokens of each. */
const [TRIALS, LENGTH] = [10, 2048];

/** A server for one measurement. Its context is as long as the requests, so that nothing else is reserved. */
function start(variant: Variant, { model, pool, prompt, output }: PolicyBenchOptions): Promise<Target> {
  return startServer([
    ...['--model', model.source, '--sparse-kv-cache-type', variant.policy.name],
    ...(variant.ratio === undefined ? [] : ['--sparse-kv-cache-ratio', String(variant.ratio)]),
    ...[
      '--kv-cache-memory',
      String(pool),
      '--max-model-len',
      String(Math.min(model.maxPosition, prompt + output + 16)),
    ],
    '--no-enable-prefix-caching',
  ]);
}

/** One server, warmed up, then all requests at once: its queue is never empty. */
async function throughputOf(
  variant: Variant,
  options: PolicyBenchOptions,
  prompts: ReturnType<typeof promptsOf>,
  progress: (line: string) => void,
): Promise<LoadResult> {
  const { requests, prompt, output } = options;
  const spec: LoadSpec = {
    rate: 1e4,
    requests,
    prompt: { kind: 'fixed', value: prompt },
    output: { kind: 'fixed', value: output },
    policies: [{ name: variant.policy.built.plan.name, weight: 1 }],
    seed: 1,
  };
  const slo = { ttft: 1, itl: 1 };
  const target = await start(variant, options);
  try {
    await runLoad(target.url, { ...spec, requests: 1, prompt: { kind: 'fixed', value: 64 } }, slo, prompts);
    const result = await runLoad(target.url, spec, slo, prompts);
    if (result.failed)
      throw new Error(`${variant.name}: ${result.failed} of ${requests} requests failed: ${result.failure}`);
    progress(`${variant.name}: ${figure(result.throughput)} tok/s, ${figure(result.meanRunning)} requests held`);
    return result;
  } finally {
    await target.stop();
  }
}

export async function policyBench(options: PolicyBenchOptions, progress: (line: string) => void): Promise<Report> {
  const { model, policies, ratios, runs, tokens } = options;
  const about = machine();
  const none = policies.find(({ name }) => name === 'none')!;
  const variants: Variant[] = [
    { name: 'full cache', policy: none },
    ...policies
      .filter((policy) => policy !== none)
      .flatMap((policy) => ratios.map((ratio) => ({ name: `${policy.name} ${percent(ratio)}`, policy, ratio }))),
  ];
  const prompts = promptsOf(model);
  const run = (variant: Variant) => throughputOf(variant, options, prompts, progress);
  const length = Math.min(LENGTH, Math.floor(tokens.length / TRIALS), model.maxPosition - ANSWER);
  const hidden = keyPrompts(model, { text: tokens, length, trials: TRIALS, seed: 1 });
  const seen = await interleave(variants, runs, run);
  const bought: Bought[] = [];
  for (const variant of variants) {
    const { ratio } = variant;
    const quality = await nll(model, variant.policy.built, {
      tokens,
      prefix: options.prefix,
      count: options.count,
      ratio,
    });
    const { found } = await keys(model, variant.policy.built, hidden, { ratio });
    const results = seen.get(variant)!;
    bought.push({
      variant: variant.name,
      ratio: variant.ratio ?? 1,
      throughput: spread(results.map(({ throughput }) => throughput)),
      held: spread(results.map(({ meanRunning }) => meanRunning)),
      preemptions: Math.max(...results.map(({ preemptions }) => preemptions)),
      nll: quality.nll,
      difference: bought.length ? quality.nll - bought[0].nll : 0,
      keys: found,
    });
    progress(`${variant.name}: ${quality.nll.toFixed(4)} nats, ${found} of ${TRIALS} keys`);
  }
  return reportOf(options, bought, length, about);
}

function reportOf(
  { model, requests, prompt, output, pool, prefix, count, runs }: PolicyBenchOptions,
  bought: Bought[],
  length: number,
  about: ReturnType<typeof machine>,
): Report {
  const full = bought[0];
  const signed = (value: number) => `${value >= 0 ? '+' : ''}${value.toFixed(3)}`;
  return {
    name: 'policies',
    command: 'skv bench policies',
    machine: about,
    tables: [
      {
        title: `What eviction buys: ${model.name}, ${requests} requests of ${prompt} + ${output} tokens in a pool of ${figure(pool / 2 ** 20)} MiB`,
        head: [
          'cache',
          'tok/s at saturation',
          '÷ full',
          'requests held',
          'preemptions',
          'NLL, nats',
          'difference',
          `keys of ${TRIALS}`,
          'n',
        ],
        rows: bought.map((each) => [
          each.variant,
          ranged(each.throughput),
          `${figure(each.throughput.median / full.throughput.median)} ×`,
          each.held.median,
          each.preemptions,
          each.nll.toFixed(3),
          each === full ? undefined : signed(each.difference),
          each.keys,
          each.throughput.n,
        ]),
      },
    ],
    plots: plotsOf(bought),
    notes: [
      `All requests arrive at once at \`skv serve\`; tokens a second count generated tokens from the first request to the last answer, reading the prompts included. n = ${runs}.`,
      `NLL: mean over ${count} tokens after ${prefix} tokens of prefix whose cache the policy has thinned; deterministic.`,
      `Keys: numbers hidden in ${TRIALS} prompts of ${length} tokens, found by greedy answers (see skv eval keys).`,
    ],
    data: bought,
  };
}

const plotsOf = (bought: readonly Bought[]): Plot[] => [
  {
    name: 'bought',
    title: 'What eviction buys: throughput in a fixed pool',
    kind: 'bar',
    x: 'part of the cache that is kept',
    y: 'tokens / s at saturation',
    values: bought.map(({ variant, ratio, throughput }) => ({
      series: variant.replace(/ \d+ %$/, ''),
      x: percent(ratio),
      y: throughput.median,
      low: throughput.min,
      high: throughput.max,
    })),
  },
  {
    name: 'quality',
    title: 'What it costs: likelihood of the text that follows',
    kind: 'line',
    x: 'part of the cache that is kept',
    y: 'difference of NLL, nats a token',
    values: bought.slice(1).map(({ variant, ratio, difference }) => ({
      series: variant.replace(/ \d+ %$/, ''),
      x: ratio,
      y: difference,
    })),
  },
];
