/** Results as JSON, as a Markdown table and as files: one shape for every `skv bench`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Machine, machineLine } from './machine.ts';
import type { Spread } from './measure.ts';
import { type Plot, toSvg } from './plot.ts';

export type Cell = string | number | undefined;

export interface Table {
  title: string;
  head: string[];
  rows: Cell[][];
}

export interface Report {
  /** file name of its outputs: kernels, engine, peers, serve … */
  name: string;
  /** what to type to see it again */
  command: string;
  machine: Machine;
  tables: Table[];
  plots: Plot[];
  /** what the reader must know: missing peers, how a number was taken */
  notes: string[];
  /** every number behind the tables */
  data: unknown;
}

export interface ReportFlags {
  json?: boolean;
  /** folder for NAME.json, NAME.md and NAME-PLOT.svg */
  out?: string;
}

/** Whole numbers as they are, others with three significant digits or more; thousands apart. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value - Math.round(value)) < 1e-9) value = Math.round(value); // 3.0000000000000004 is 3
  const digits = Number.isInteger(value)
    ? 0
    : Math.abs(value) >= 100
      ? 0
      : Math.abs(value) >= 10
        ? 1
        : Math.abs(value) >= 1
          ? 2
          : 3;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** `123 (110–140)`: median and range. */
export const ranged = ({ median, min, max }: Spread): string => `${figure(median)} (${figure(min)}–${figure(max)})`;

export const percent = (part: number): string => (Number.isFinite(part) ? `${Math.round(100 * part) || 0} %` : '–');

const cell = (value: Cell): string =>
  value === undefined ? '–' : (typeof value === 'number' ? figure(value) : value).replace(/\|/g, '\\|');

export function markdownTable({ head, rows }: Table): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i ? '--:' : '---'))), ...rows.map((row) => line(row.map(cell)))].join(
    '\n',
  );
}

/** Others' work is told with the numbers: systems whose threads wait for each other suffer most from it. */
const busy = ({ load, cores }: Machine): string[] =>
  load < 0.5 * cores.length
    ? []
    : [`The machine was busy (load ${load.toFixed(1)} on ${cores.length} cores) when this began: not to be quoted.`];

/** Plots are named as files: `![title](NAME-PLOT.svg)` when `withPlots`. */
export function markdown(report: Report, withPlots = false): string {
  return `${[
    `# ${report.command}`,
    machineLine(report.machine),
    ...report.tables.map((table) => `## ${table.title}\n\n${markdownTable(table)}`),
    ...(withPlots ? report.plots.map((plot) => `![${plot.title}](${plotFile(report, plot)})`) : []),
    ...[...busy(report.machine), ...report.notes].map((note) => `- ${note}`),
  ].join('\n\n')}\n`;
}

const plotFile = (report: Report, plot: Plot): string => `${report.name}-${plot.name}.svg`;

/** Prints a report and writes its files. */
export async function deliver(report: Report, flags: ReportFlags): Promise<void> {
  const { plots, tables, ...plain } = report;
  const text = JSON.stringify({ ...plain, tables });
  process.stdout.write(flags.json ? `${text}\n` : markdown(report));
  if (flags.out === undefined) return;
  mkdirSync(flags.out, { recursive: true });
  writeFileSync(join(flags.out, `${report.name}.json`), `${text}\n`);
  writeFileSync(join(flags.out, `${report.name}.md`), markdown(report, true));
  for (const plot of plots) writeFileSync(join(flags.out, plotFile(report, plot)), await toSvg(plot));
  process.stderr.write(
    `skv: ${report.name}.json, .md and ${plots.length} plot${plots.length === 1 ? '' : 's'} in ${flags.out}\n`,
  );
}
