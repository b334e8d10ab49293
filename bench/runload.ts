/** Sends a load to a server and says how it fared. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Timed, metrics, stream } from './client.ts';
import { type Arrival, type LoadSpec, arrivals } from './load.ts';
import { quantile } from './measure.ts';

/** What a user still calls good: seconds to the first token, and between tokens on average. */
export interface Slo {
  ttft: number;
  itl: number;
}

interface Percentiles {
  p50: number;
  p90: number;
  p99: number;
}

/** The server at one moment, from its /metrics. */
export interface Moment {
  at: number;
  running: number;
  waiting: number;
  bytes: number;
}

export interface LoadResult {
  rate: number;
  requests: number;
  failed: number;
  /** first failure's message */
  failure?: string;
  seconds: number;
  promptTokens: number;
  outputTokens: number;
  /** tokens generated a second, from the first request to the last answer */
  throughput: number;
  /** requests a second that met the SLO, and their part of all */
  goodput: number;
  attained: number;
  ttft: Percentiles;
  itl: Percentiles;
  preemptions: number;
  evicted: number;
  mostRunning: number;
  meanRunning: number;
  mostBytes: number;
  moments: Moment[];
}

export const percentiles = (values: readonly number[]): Percentiles => ({
  p50: quantile(values, 0.5),
  p90: quantile(values, 0.9),
  p99: quantile(values, 0.99),
});

export function meets({ sent, events, status, error }: Timed, slo: Slo): boolean {
  if (status !== 200 || error !== undefined || events.length === 0) return false;
  const gaps = events.length - 1;
  return events[0] - sent <= slo.ttft && (gaps === 0 || (events[gaps] - events[0]) / gaps <= slo.itl);
}

/** `prompt` gives a request's token ids. */
export async function runLoad(
  url: string,
  spec: LoadSpec,
  slo: Slo,
  prompt: (arrival: Arrival) => number[],
  apiKey?: string,
): Promise<LoadResult> {
  const planned = arrivals(spec);
  const before = await metrics(url);
  const start = performance.now();
  const now = () => (performance.now() - start) / 1000;
  const moments: Moment[] = [];
  let over = false;
  const watch = (async () => {
    while (!over) {
      const seen = await metrics(url);
      moments.push({
        at: now(),
        running: seen.get('vllm:num_requests_running') ?? 0,
        waiting: seen.get('vllm:num_requests_waiting') ?? 0,
        bytes: seen.get('skv:kv_cache_bytes') ?? 0,
      });
      await sleep(200);
    }
  })();
  const answers = await Promise.all(
    planned.map(async (arrival) => {
      await sleep(Math.max(0, arrival.at * 1000 - (performance.now() - start)));
      const { name, params } = spec.policies[arrival.policy];
      const body = {
        prompt: prompt(arrival),
        max_tokens: arrival.output,
        ignore_eos: true,
        temperature: 0,
        sparse_kv: { policy: name, ...params },
      };
      return stream(url, body, now, apiKey);
    }),
  );
  over = true;
  await watch;
  const after = await metrics(url);
  return summary(
    { spec, slo, answers, moments, grown: (name) => (after.get(name) ?? 0) - (before.get(name) ?? 0) },
    planned,
  );
}

interface Seen {
  spec: LoadSpec;
  slo: Slo;
  answers: Timed[];
  moments: Moment[];
  /** growth of a counter of the server */
  grown(name: string): number;
}

function summary({ spec, slo, answers, moments, grown }: Seen, planned: Arrival[]): LoadResult {
  const good = answers.filter(({ status, error }) => status === 200 && error === undefined);
  const bad = answers.find((answer) => !good.includes(answer));
  const seconds = Math.max(...answers.map(({ done }) => done)) - Math.min(...answers.map(({ sent }) => sent));
  const outputTokens = good.reduce((sum, { generated }) => sum + generated, 0);
  const met = answers.filter((answer) => meets(answer, slo)).length;
  const busy = moments.filter(({ running }) => running > 0);
  return {
    rate: spec.rate,
    requests: answers.length,
    failed: answers.length - good.length,
    failure: bad && (bad.error ?? `status ${bad.status}`),
    seconds,
    promptTokens: planned.reduce((sum, { prompt }) => sum + prompt, 0),
    outputTokens,
    throughput: outputTokens / seconds,
    goodput: met / seconds,
    attained: met / answers.length,
    ttft: percentiles(good.filter(({ events }) => events.length).map(({ sent, events }) => events[0] - sent)),
    itl: percentiles(good.flatMap(({ events }) => events.slice(1).map((at, i) => at - events[i]))),
    preemptions: grown('vllm:num_preemptions_total'),
    evicted: grown('skv:slots_evicted_total'),
    mostRunning: Math.max(0, ...moments.map(({ running }) => running)),
    meanRunning: busy.reduce((sum, { running }) => sum + running, 0) / Math.max(1, busy.length),
    mostBytes: Math.max(0, ...moments.map(({ bytes }) => bytes)),
    moments,
  };
}

/**
 * The highest rate at which `part` of the requests meet the SLO: doubled until they do not, then halved in between.
 * Returns what was run, in order; the last one that held is the answer.
 */
export async function saturate(
  run: (rate: number) => Promise<LoadResult>,
  first: number,
  part: number,
  steps = 3,
): Promise<{ held?: LoadResult; runs: LoadResult[] }> {
  const runs: LoadResult[] = [];
  const holds = async (rate: number) => {
    const result = await run(rate);
    runs.push(result);
    return result.attained >= part && result.failed === 0 ? result : undefined;
  };
  let held: LoadResult | undefined;
  let [low, high] = [0, first];
  for (;;) {
    const result = await holds(high);
    if (!result) break;
    held = result;
    low = high;
    high *= 2;
    if (runs.length > 12) return { held, runs }; // the client itself cannot send faster
  }
  for (let i = 0; i < steps; i++) {
    const middle = (low + high) / 2;
    const result = await holds(middle);
    if (result) [held, low] = [result, middle];
    else high = middle;
  }
  return { held, runs };
}
