/**
 * `skv bench kernels`: each generated kernel and each dense product alone, beside what the machine can do at most, measured
 * between the repetitions of the same run.
 */
import { WeightType } from '../runtime/contract/records.ts';
import { blockOf } from '../runtime/contract/weights.ts';
import { type Answer, startHelper } from './helper.ts';
import type { Child } from './child.ts';
import { type Limits, limitRows, limitsOf, missingDots, readLimit, readLimits } from './limits.ts';
import { machine } from './machine.ts';
import { type Spread, spread } from './measure.ts';
import type { KernelShape, PassCase } from './passes.ts';
import { type Report, figure, percent } from './report.ts';

export interface KernelOptions {
  shape: KernelShape;
  passes: readonly PassCase[];
  /** whose passes they are, and nothing else is measured; empty: everything */
  own: readonly string[];
  runs: number;
  quick?: boolean;
}

/** One measured thing: `open` and `params` prepare it, `line` runs it once. */
export interface Case {
  kernel: string;
  size: string;
  open?: string;
  params?: string;
  line: string;
  /** what it must move and compute; a dense product says it itself */
  bytes?: number;
  ops?: number;
  dot: 'int8' | 'bf16' | 'f32';
}

export interface KernelRow {
  kernel: string;
  size: string;
  seconds: Spread;
  bytes: number;
  ops: number;
  bytesPerSecond: number;
  opsPerSecond: number;
  /** the larger of bytes over the read bandwidth and operations over the dot-product rate, as part of the time taken */
  ofBound: number;
  bound: 'memory' | 'arithmetic';
}

/** From so many tokens on a product is a prompt's. */
const PROMPT = 64;

/** Every weight type; a width that is not whole blocks of one is rounded up. */
export function productCases({ width, ffn }: KernelShape, tokens: readonly number[]): Case[] {
  return Object.entries(WeightType).flatMap(([name, type]) => {
    const { elements } = blockOf(type);
    const cols = Math.ceil(width / elements) * elements;
    return tokens.map((n) => ({
      kernel: `dense ${name}`,
      size: `${ffn} × ${cols}, ${n} token${n > 1 ? 's' : ''}`,
      line: `product ${type} ${ffn} ${cols} ${n} ${Number(n >= PROMPT)}`,
      dot: elements > 1 ? ('int8' as const) : ('f32' as const),
    }));
  });
}

/** Runs one case beside its limits, `runs` times in turn. The limits are those of the whole run so far. */
async function measure(
  helper: Child,
  { kernel, size, open, params, line, dot, ...known }: Case,
  runs: number,
  seen: Limits,
): Promise<KernelRow> {
  if (open) await helper.ask(open);
  if (params) await helper.ask(params);
  const answers: Answer[] = [];
  for (let i = 0; i < runs; i++) {
    await readLimit(helper, 'read', seen);
    await readLimit(helper, dot, seen);
    answers.push(await helper.ask<Answer>(line));
  }
  const seconds = spread(answers.map((answer) => answer.seconds));
  const { bytes, ops } = { ...answers[0], ...known };
  const limits = limitsOf(seen);
  const [memory, arithmetic] = [bytes / limits.read, ops / limits[dot]];
  return {
    kernel,
    size,
    seconds,
    bytes,
    ops,
    bytesPerSecond: bytes / seconds.median,
    opsPerSecond: ops / seconds.median,
    ofBound: Math.max(memory, arithmetic) / seconds.median,
    bound: memory >= arithmetic ? 'memory' : 'arithmetic',
  };
}

const caseOf = (each: PassCase): Case => ({ ...each, dot: 'bf16' });

export async function kernels(options: KernelOptions, progress: (line: string) => void): Promise<Report> {
  const { shape, passes, own, runs, quick } = options;
  const products = own.length ? [] : productCases(shape, quick ? [1, 64] : [1, 8, 64, 512]);
  const cases = [...products, ...passes.map(caseOf)];
  const helper = await startHelper();
  try {
    const seen = await readLimits(helper, runs);
    const rows: KernelRow[] = [];
    for (const each of cases) {
      const row = await measure(helper, each, runs, seen);
      rows.push(row);
      progress(`${row.kernel.padEnd(26)} ${row.size.padEnd(30)} ${percent(row.ofBound)} of the ${row.bound} bound`);
    }
    return {
      name: 'kernels',
      command: `skv bench kernels --runs ${runs}${quick ? ' --quick' : ''}${own.map((name) => ` --policy ${name}`).join('')}`,
      machine: machine(),
      tables: [
        { title: 'Limits of this machine', head: ['limit', 'median', 'range', 'n'], rows: limitRows(seen) },
        {
          title: 'Kernels alone',
          head: ['kernel', 'size', 'µs', 'range', 'GB/s', 'Gop/s', 'of its bound', 'bound', 'n'],
          rows: rows.map((row) => [
            row.kernel,
            row.size,
            row.seconds.median * 1e6,
            `${figure(row.seconds.min * 1e6)}–${figure(row.seconds.max * 1e6)}`,
            row.bytes ? row.bytesPerSecond / 1e9 : undefined,
            row.ops ? row.opsPerSecond / 1e9 : undefined,
            percent(row.ofBound),
            row.bound,
            row.seconds.n,
          ]),
        },
      ],
      plots: [
        {
          name: 'bound',
          title: 'Kernels: part of their bound, 1 = the machine’s limit',
          kind: 'bar',
          x: 'kernel',
          y: 'of its bound',
          values: rows.map((row) => ({ series: row.bound, x: `${row.kernel}, ${row.size}`, y: row.ofBound })),
        },
      ],
      notes: [
        'Random data; weights beyond the caches (192 MiB in turn), sequences in turn. A pass runs over all layers of one sequence unless its size says otherwise. Attend of one token stores it, and in a server also replaces a slot while its pages are warm; here “replace one slot” is alone and cold.',
        'Bound: bytes over read bandwidth or operations over the dot-product rate (int8 for quantised weights, bf16 for attention, f32 for the rest), whichever takes longer, with the limits measured between the repetitions of the same run.',
        ...missingDots(seen).map((name) => `This machine has no ${name} dot product.`),
      ],
      data: { limits: seen, rows },
    };
  } finally {
    await helper.close();
  }
}
