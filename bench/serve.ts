/** `skv bench serve`: an open-loop load against the HTTP server. */
import type { LoadedModel } from '../runtime/model/types.ts';
import type { Arrival, Lengths, LoadSpec } from './load.ts';
import { machine } from './machine.ts';
import type { Plot } from './plot.ts';
import { type Cell, type Report, figure, percent } from './report.ts';
import { type LoadResult, type Slo, runLoad, saturate } from './runload.ts';
import { type Target, running, startServer } from './server.ts';
import { mobyDick } from '../eval/text.ts';

export interface ServeOptions {
  model: LoadedModel;
  url?: string;
  apiKey?: string;
  /** of `skv serve`, when it is started here */
  serverArgs: string[];
  rates: number[];
  requests: number;
  prompt: Lengths;
  output: Lengths;
  policies: LoadSpec['policies'];
  seed: number;
  slo: Slo;
  /** search the highest rate that meets the SLO for this part of the requests */
  saturate?: number;
}

/** Prompts are passages of one long text, each from its own place; numbers of a small vocabulary when the model reads no text. */
export function promptsOf(model: LoadedModel): (arrival: Pick<Arrival, 'from' | 'prompt'>) => number[] {
  const tokens = model.tokenizer.encode(mobyDick().slice(0, 400_000));
  return ({ from, prompt }) => {
    const start = Math.floor(from * Math.max(1, tokens.length - prompt));
    return Array.from({ length: prompt }, (_, i) => tokens[(start + i) % tokens.length]);
  };
}

const milliseconds = (seconds: number): string => figure(seconds * 1000);

export function resultRow(name: string, result: LoadResult, bytesPerToken: number): Cell[] {
  const { ttft, itl } = result;
  return [
    name,
    `${result.requests}${result.failed ? ` (${result.failed} failed)` : ''}`,
    [ttft.p50, ttft.p90, ttft.p99].map(milliseconds).join(' / '),
    [itl.p50, itl.p90, itl.p99].map(milliseconds).join(' / '),
    result.throughput,
    figure(result.goodput),
    percent(result.attained),
    result.preemptions,
    `${figure(result.meanRunning)} / ${result.mostRunning}`,
    `${figure(result.mostBytes / 2 ** 20)} (${figure(Math.round(result.mostBytes / bytesPerToken))} tokens)`,
  ];
}

export const resultHead = [
  '',
  'requests',
  'TTFT p50 / p90 / p99, ms',
  'ITL p50 / p90 / p99, ms',
  'tok/s out',
  'goodput, req/s',
  'met the SLO',
  'preemptions',
  'running, mean / most',
  'KV held at most, MiB',
];

export async function serve(options: ServeOptions, progress: (line: string) => void): Promise<Report> {
  const { model, url, rates, slo } = options;
  const about = machine();
  const prompt = promptsOf(model);
  const { layers, kvHeads, headDim } = model.spec;
  const bytesPerToken = layers * kvHeads * headDim * 4;
  const target: Target = url ? running(url) : await startServer(options.serverArgs);
  try {
    const load = async (rate: number): Promise<LoadResult> => {
      const { requests, prompt: prompts, output, policies, seed } = options;
      const spec = { rate, requests, prompt: prompts, output, policies, seed };
      const result = await runLoad(target.url, spec, slo, prompt, options.apiKey);
      progress(
        `${figure(rate)} requests/s: ${figure(result.throughput)} tok/s, TTFT p90 ${milliseconds(result.ttft.p90)} ms, ITL p90 ${milliseconds(result.itl.p90)} ms, SLO met by ${percent(result.attained)}${result.failure ? `, first failure: ${result.failure}` : ''}`,
      );
      return result;
    };
    await load(rates[0]); // warm-up, discarded
    const results: LoadResult[] = [];
    for (const rate of rates) results.push(await load(rate));
    const search = options.saturate ? await saturate(load, rates[0], options.saturate) : undefined;
    const all = [...results, ...(search?.runs ?? [])].sort((a, b) => a.rate - b.rate);
    const row = (result: LoadResult) => resultRow(`${figure(result.rate)} /s`, result, bytesPerToken);
    return {
      name: 'serve',
      command: 'skv bench serve',
      machine: about,
      tables: [
        { title: 'Open-loop load, Poisson arrivals', head: resultHead, rows: results.map(row) },
        ...(search
          ? [
              {
                title: `Search for saturation: ${percent(options.saturate!)} of the requests must meet the SLO`,
                head: resultHead,
                rows: search.runs.map(row),
              },
            ]
          : []),
      ],
      plots: plotsOf(all, results[results.length - 1]),
      notes: [
        `SLO: first token within ${slo.ttft} s, ${slo.itl * 1000} ms between tokens on average. Policies: ${options.policies.map(({ name, weight }) => `${name} × ${weight}`).join(', ')}. Seed ${options.seed}.`,
        ...(target.readySeconds ? [`Ready ${figure(target.readySeconds)} s after the start of its process.`] : []),
        ...(search
          ? [
              search.held
                ? `Saturation: ${figure(search.held.rate)} requests/s, ${figure(search.held.throughput)} tok/s.`
                : 'The SLO was not met at the lowest rate tried.',
            ]
          : []),
      ],
      data: { results, search },
    };
  } finally {
    await target.stop();
  }
}

/** Latency by load, and the cache held over time at the last of the loads asked for. */
const plotsOf = (all: readonly LoadResult[], last: LoadResult): Plot[] => [
  {
    name: 'latency',
    title: 'Latency by load',
    kind: 'line',
    x: 'requests / s',
    y: 'seconds',
    logY: true,
    values: all.flatMap(({ rate, ttft, itl }) => [
      { series: 'TTFT p50', x: rate, y: ttft.p50 },
      { series: 'TTFT p99', x: rate, y: ttft.p99 },
      { series: 'ITL p50', x: rate, y: itl.p50 },
      { series: 'ITL p99', x: rate, y: itl.p99 },
    ]),
  },
  {
    name: 'resident',
    title: `KV cache held over time at ${figure(last.rate)} requests / s`,
    kind: 'line',
    x: 'seconds',
    y: 'MiB',
    values: last.moments.map(({ at, bytes }) => ({ series: 'held', x: at, y: bytes / 2 ** 20 })),
  },
];
