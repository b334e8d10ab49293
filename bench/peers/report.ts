/** The table of systems beside each other. */
import type { Machine } from '../machine.ts';
import type { Spread } from '../measure.ts';
import type { Plot } from '../plot.ts';
import { type Report, type Table, figure, ranged } from '../report.ts';
import type { KeyRow } from './keys.ts';
import type { Subject } from './subjects.ts';

/** One row of the table: tokens a second, or bytes, of every system that ran it. */
export interface PeerRow {
  what: string;
  unit: 'tok/s' | 'MiB';
  results: Map<string, Spread>;
}

/** `1.23 × NAME`: skv's median over the median of each other system in the row, lowest first. */
export function ratios({ results }: PeerRow): string {
  const own = results.get('skv');
  if (!own) return 'skv was not measured';
  return [...results]
    .filter(([name]) => !name.startsWith('skv'))
    .map(([name, { median }]) => ({ name, ratio: own.median / median }))
    .sort((a, b) => a.ratio - b.ratio)
    .map(({ name, ratio }) => `${figure(ratio)} × ${name}`)
    .join(', ');
}

/** skv against the best of the systems that `counts`; undefined when one side is missing. More is better, of bytes less. */
export function bestRatio(
  { results, unit }: PeerRow,
  subject: string,
  counts: (name: string) => boolean,
): { name: string; ratio: number } | undefined {
  const own = results.get(subject)?.median;
  const others = [...results].filter(([name]) => counts(name)).map(([name, { median }]) => ({ name, median }));
  if (own === undefined || others.length === 0) return undefined;
  const best = others.reduce((a, b) => ((unit === 'MiB' ? b.median < a.median : b.median > a.median) ? b : a));
  return { name: best.name, ratio: own / best.median };
}

/** Systems that were not measured, each with the reason and what to do, those with the same reason together. */
export function missingNotes(missing: ReadonlyMap<string, string>): string[] {
  const reasons = [...new Set(missing.values())];
  return reasons.map((why) => {
    const names = [...missing].filter(([, each]) => each === why).map(([name]) => name);
    return `Not measured: ${names.join('; ')}. ${why.replace(/\s*\n\s*/g, ' ').slice(0, 600)}`;
  });
}

function keyTable(all: readonly Subject[], keys: readonly KeyRow[]): Table {
  const named = all.filter(({ name }) => keys.some(({ found }) => found.has(name)));
  return {
    title: 'Keys found',
    head: ['', ...keys.map(({ what }) => what)],
    rows: named.map(({ name }) => [name, ...keys.map(({ found }) => found.get(name)?.found)]),
  };
}

interface Parts {
  command: string;
  about: Machine;
  all: Subject[];
  rows: PeerRow[];
  keys: KeyRow[];
  missing: Map<string, string>;
}

/** What every system measured, and skv against the best of them. */
function timedTables(all: readonly Subject[], rows: readonly PeerRow[]): Table[] {
  const named = all.filter(({ name }) => rows.some(({ results }) => results.has(name)));
  const matched = (name: string) => all.some((subject) => subject.name === name && subject.matched && !subject.evicts);
  const evicting = (name: string) =>
    all.some((subject) => subject.name === name && subject.maker !== 'skv' && subject.evicts);
  const shown = (best: ReturnType<typeof bestRatio>) => best && `${figure(best.ratio)} × ${best.name}`;
  return [
    {
      title: 'Systems, medians and ranges (tokens a second; memory in MiB)',
      head: ['', ...rows.map(({ what }) => what)],
      rows: named.map(({ name }) => [
        name,
        ...rows.map(({ results }) => (results.has(name) ? ranged(results.get(name)!) : undefined)),
      ]),
    },
    {
      title: 'skv against the best of the others',
      head: [
        '',
        'full cache ÷ best 8-bit peer, pinned',
        'h2o at 672 ÷ best evicting peer',
        'h2o at 672 ÷ own full cache',
      ],
      rows: rows.map((row) => [
        row.what,
        shown(bestRatio(row, 'skv', matched)),
        shown(bestRatio(row, 'skv, h2o 672', evicting)),
        shown(bestRatio(row, 'skv, h2o 672', (name) => name === 'skv')),
      ]),
    },
  ];
}

/** Tokens a second of every system as its context grows. */
const decodePlot = (rows: readonly PeerRow[]): Plot => ({
  name: 'decode',
  title: 'Decode, one sequence',
  kind: 'line',
  x: 'context (tokens)',
  y: 'tokens / s',
  logX: true,
  values: rows
    .filter(({ what }) => what.startsWith('decode at'))
    .flatMap(({ what, results }) =>
      [...results].map(([series, { median, min, max }]) => ({
        series,
        x: Number(what.replace(/\D/g, '')),
        y: median,
        low: min,
        high: max,
      })),
    ),
});

export function reportOf({ command, about, all, rows, keys, missing }: Parts): Report {
  const counts = rows.flatMap(({ results }) => [...results.values()].map(({ n }) => n)).filter((n) => n > 1);
  return {
    name: 'peers',
    command,
    machine: about,
    tables: [...(rows.length ? timedTables(all, rows) : []), ...(keys.length ? [keyTable(all, keys)] : [])],
    plots: [decodePlot(rows)],
    notes: [
      `n = ${counts.length ? Math.min(...counts) : 1} a cell, systems taking turns in one run; those that wait are stopped.`,
      'llama.cpp is charged with the time inside llama_decode alone, not with node-llama-cpp’s JavaScript and sampler between tokens. Pinned: a ggml thread pool of one pinned thread a core, kept between tokens; otherwise threads as node-llama-cpp starts them.',
      'OpenVINO GenAI runs its continuous-batching pipeline step by step with pinning on, 512 tokens a step, 16-bit keys and values unless said; int8 is its own 8-bit form, compressed by channel from the same file.',
      'Q8_0 and Q4_0 files are requantised from the model’s own file: the same work as published ones, other bits.',
      ...missingNotes(missing),
    ],
    data: {
      rows: rows.map(({ what, unit, results }) => ({ what, unit, results: Object.fromEntries(results) })),
      keys: keys.map(({ what, found }) => ({ what, found: Object.fromEntries(found) })),
      missing: Object.fromEntries(missing),
    },
  };
}
