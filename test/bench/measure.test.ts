/** Statistics of samples, turns, tables and plots. */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Machine } from '../../bench/machine.ts';
import { interleave, median, quantile, spread } from '../../bench/measure.ts';
import { toSvg } from '../../bench/plot.ts';
import { type Report, deliver, figure, markdown, markdownTable, percent, ranged } from '../../bench/report.ts';

test('medians and quantiles interpolate, and do not mind order', () => {
  assert.is(median([3, 1, 2]), 2);
  assert.is(median([4, 1, 3, 2]), 2.5);
  assert.is(median([7]), 7);
  assert.is(quantile([10, 20, 30, 40, 50], 0.9), 46);
  assert.is(quantile([10, 20], 0), 10);
  assert.is(quantile([10, 20], 1), 20);
  assert.ok(Number.isNaN(median([])));
  const values = [5, 1, 9];
  assert.equal(spread(values), { n: 3, median: 5, min: 1, max: 9 });
  assert.equal(values, [5, 1, 9], 'the sample keeps its order');
});

test('subjects take turns, another one first each round', async () => {
  const order: string[] = [];
  const seen = await interleave(['a', 'b', 'c'], 3, (subject, round) => {
    order.push(subject);
    return round;
  });
  assert.is(order.join(''), 'abcbcacab');
  for (const rounds of seen.values()) assert.equal(rounds, [0, 1, 2]);
});

test('figures keep three digits', () => {
  assert.equal([1234.5, 12.34, 1.234, 0.1234, 5, Number.NaN].map(figure), ['1,235', '12.3', '1.23', '0.123', '5', '–']);
  assert.is(percent(0.834), '83 %');
  assert.is(ranged({ n: 3, median: 2, min: 1.5, max: 3 }), '2 (1.50–3)');
});

const machine: Machine = {
  cpu: 'a processor',
  cores: [0, 1],
  isa: ['avx2', 'generic'],
  memoryBytes: 8 * 2 ** 30,
  load: 0.1,
  node: 'v20',
  date: '2026-01-02T03:04:05Z',
};
const report = (more: Partial<Report> = {}): Report => ({
  name: 'sample',
  command: 'skv bench sample',
  machine,
  tables: [
    {
      title: 'Numbers',
      head: ['what', 'n'],
      rows: [
        ['a | b', 3],
        ['missing', undefined],
      ],
    },
  ],
  plots: [
    {
      name: 'rates',
      title: 'Rates of a sample',
      kind: 'line',
      x: 'context',
      y: 'tok/s',
      logX: true,
      values: [
        { series: 'one', x: 128, y: 10, low: 9, high: 12 },
        { series: 'one', x: 1024, y: 5, low: 4, high: 6 },
      ],
    },
  ],
  notes: ['a note'],
  data: { rows: [1, 2] },
  ...more,
});

test('a table is Markdown whatever its cells hold', () => {
  assert.is(markdownTable(report().tables[0]), '| what | n |\n| --- | --: |\n| a \\| b | 3 |\n| missing | – |');
  const text = markdown(report());
  assert.match(text, '# skv bench sample');
  assert.match(text, 'a processor, 2 cores, avx2, 8 GiB');
  assert.match(text, '- a note');
  assert.not.match(text, 'svg');
});

test('a run on a busy machine says so', () => {
  assert.not.match(markdown(report()), 'busy');
  assert.match(markdown(report({ machine: { ...machine, load: 3 } })), 'busy');
});

test('a report leaves JSON, Markdown and SVG behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skv-report-'));
  const { write } = process.stdout;
  let printed = '';
  process.stdout.write = ((chunk: string) => {
    printed += chunk;
    return true;
  }) as typeof write;
  try {
    await deliver(report(), { json: true, out: join(folder, 'new') });
  } finally {
    process.stdout.write = write;
  }
  assert.equal(JSON.parse(printed).data, { rows: [1, 2] });
  assert.equal(readdirSync(join(folder, 'new')).sort(), ['sample-rates.svg', 'sample.json', 'sample.md']);
  assert.is(readFileSync(join(folder, 'new', 'sample.json'), 'utf8'), printed);
  assert.match(readFileSync(join(folder, 'new', 'sample.md'), 'utf8'), '![Rates of a sample](sample-rates.svg)');
  rmSync(folder, { recursive: true });
});

test('plots of lines and bars are drawings of their values', async () => {
  const [plot] = report().plots;
  const lines = await toSvg(plot);
  assert.match(lines, /^<svg/);
  assert.match(lines, 'Rates of a sample');
  const bars = await toSvg({ ...plot, kind: 'bar', values: [{ series: 'one', x: 'left', y: 2 }] });
  assert.match(bars, 'left');
  assert.is.not(await toSvg({ ...plot, values: [{ ...plot.values[0], y: 20 }, plot.values[1]] }), lines);
});

test.run();
