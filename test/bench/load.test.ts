/** The load generator: arrivals, lengths, policies; what counts as good; the search for saturation. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseMetrics } from '../../bench/client.ts';
import { type LoadSpec, arrivals, draw, parseLengths } from '../../bench/load.ts';
import { median } from '../../bench/measure.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type LoadResult, meets, percentiles, saturate } from '../../bench/runload.ts';

const spec: LoadSpec = {
  rate: 4,
  requests: 4000,
  prompt: { kind: 'uniform', low: 10, high: 20 },
  output: { kind: 'lognormal', median: 100, sigma: 0.5, most: 1000 },
  policies: [
    { name: 'none', weight: 1 },
    { name: 'h2o', weight: 3 },
  ],
  seed: 7,
};

test('gaps are exponential with the rate asked for', () => {
  const list = arrivals(spec);
  const gaps = list.map(({ at }, i) => at - (list[i - 1]?.at ?? 0));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
  assert.ok(Math.abs(mean - 0.25) < 0.0125, `mean ${mean}`);
  assert.ok(Math.abs(deviation / mean - 1) < 0.06, `an exponential’s deviation is its mean: ${deviation / mean}`);
  const late = gaps.filter((gap) => gap > 0.25).length / gaps.length;
  assert.ok(Math.abs(late - Math.exp(-1)) < 0.03, `${late} are longer than the mean`);
});

test('a seed repeats everything; a rate changes the times alone', () => {
  assert.equal(arrivals(spec), arrivals(spec));
  assert.is.not(arrivals({ ...spec, seed: 8 })[0].at, arrivals(spec)[0].at);
  const faster = arrivals({ ...spec, rate: 8 });
  arrivals(spec).forEach(({ at, ...rest }, i) => {
    assert.ok(Math.abs(faster[i].at - at / 2) < 1e-9);
    assert.equal({ ...faster[i], at: 0 }, { ...rest, at: 0 });
  });
});

test('lengths follow their distributions', () => {
  const list = arrivals(spec);
  assert.equal(
    [...new Set(list.map(({ prompt }) => prompt))].sort((a, b) => a - b),
    [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
  );
  const outputs = list.map(({ output }) => output);
  assert.ok(Math.abs(median(outputs) - 100) < 5, `median ${median(outputs)}`);
  const within = outputs.filter((n) => n >= 100 * Math.exp(-0.5) && n <= 100 * Math.exp(0.5)).length / outputs.length;
  assert.ok(Math.abs(within - 0.683) < 0.03, `${within} within one sigma`);
  const next = random(1);
  for (let i = 0; i < 1000; i++) {
    const n = draw({ kind: 'lognormal', median: 50, sigma: 3, most: 60 }, next);
    assert.ok(Number.isInteger(n) && n >= 1 && n <= 60);
  }
});

test('policies are drawn by weight', () => {
  const share = arrivals(spec).filter(({ policy }) => policy === 1).length / spec.requests;
  assert.ok(Math.abs(share - 0.75) < 0.03, String(share));
});

test('lengths are written in three ways, and mistakes are told', () => {
  assert.equal(parseLengths('prompt', '512'), { kind: 'fixed', value: 512 });
  assert.equal(parseLengths('prompt', '1-9'), { kind: 'uniform', low: 1, high: 9 });
  assert.equal(parseLengths('prompt', 'lognormal:512,0.8,4096'), {
    kind: 'lognormal',
    median: 512,
    sigma: 0.8,
    most: 4096,
  });
  for (const text of ['', '0', '-5', '9-1', '1-2-3', 'many', 'lognormal:512', 'lognormal:512,0,10', '1.5'])
    assert.throws(() => parseLengths('prompt', text), /--prompt .*: write 512/, text);
});

test('an answer is good when both its first token and its pace are', () => {
  const slo = { ttft: 1, itl: 0.1 };
  const answer = { sent: 10, events: [10.9, 10.95, 11.1], generated: 3, done: 11.1, status: 200 };
  assert.ok(meets(answer, slo));
  assert.not.ok(meets({ ...answer, events: [11.1, 11.2] }, slo), 'late');
  assert.not.ok(meets({ ...answer, events: [10.9, 11.2] }, slo), 'slow');
  assert.not.ok(meets({ ...answer, status: 429 }, slo), 'refused');
  assert.not.ok(meets({ ...answer, error: 'stopped' }, slo), 'broken');
  assert.not.ok(meets({ ...answer, events: [] }, slo), 'empty');
  assert.equal(percentiles([1, 2, 3, 4, 5]), { p50: 3, p90: 4.6, p99: 4.96 });
});

test('the search ends close below the rate that a server can bear', async () => {
  const tried: number[] = [];
  const server = async (rate: number) => {
    tried.push(rate);
    return { rate, attained: rate <= 11 ? 1 : 0.3, failed: 0 } as LoadResult;
  };
  const { held, runs } = await saturate(server, 1, 0.9, 4);
  assert.equal(tried.slice(0, 5), [1, 2, 4, 8, 16]);
  assert.is(runs.length, 9);
  assert.ok(held!.rate > 10 && held!.rate <= 11, String(held!.rate));
  assert.is(
    (await saturate(async (rate) => ({ rate, attained: 0, failed: 0 }) as LoadResult, 1, 0.9, 2)).held,
    undefined,
  );
});

test('metrics of several labels add up', () => {
  const seen = parseMetrics(
    '# HELP a\n# TYPE a counter\na{policy="x"} 2\na{policy="y"} 3.5\nb 1e3\n\nc{le="+Inf"} 7\n',
  );
  assert.equal(
    [...seen],
    [
      ['a', 5.5],
      ['b', 1000],
      ['c', 7],
    ],
  );
});

test.run();
