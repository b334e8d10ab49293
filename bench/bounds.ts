/**
 * `skv bench bounds` (and `skv bench` alone): the table of docs/performance.md. For each kind of work: the bytes and
 * operations it cannot do without, the time they take at this machine's limits, the time it takes, and where most of the
 * difference goes.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import type { LoadedModel } from '../runtime/model/types.ts';
import type { Child } from './child.ts';
import { type Answer, startHelper } from './helper.ts';
import { type Limits, limitRows, limitsOf, readLimits } from './limits.ts';
import { machine } from './machine.ts';
import { type Spread, interleave, median, spread } from './measure.ts';
import { BUDGET, type Job, floorOf, need, productsOf, wantedJobs } from './need.ts';
import type { SkvSetup, SkvWorked } from './peers/skv.ts';
import { startSkv } from './peers/start.ts';
import type { Plot } from './plot.ts';
import { type Report, type Table, figure, percent } from './report.ts';
import { mobyDick } from '../eval/text.ts';

export interface BoundOptions {
  model: LoadedModel;
  none: BuiltPolicy;
  h2o: BuiltPolicy;
  runs: number;
  quick?: boolean;
  /** work whose name holds one of these; none: all */
  only?: readonly string[];
}

/** Seconds of the parts of a job, each alone: all dense products, and all layers' attention. */
async function parts(
  helper: Child,
  job: Job,
  model: LoadedModel,
  policy: BuiltPolicy,
  runs: number,
  products: Map<string, number>,
): Promise<{ dense: number; attention: number }> {
  const { layers, kvHeads, heads, headDim } = model.spec;
  const chunk = job.kind === 'prefill' ? Math.min(job.slots, 512) : job.batch;
  const shapes = new Map<string, number>();
  for (const { type, rows, cols, isHead } of productsOf(model)) {
    const ofPrompts = job.kind === 'prefill' && !isHead;
    const tokens = job.kind === 'decode' || ofPrompts ? chunk : 1;
    const line = `product ${type} ${rows} ${cols} ${tokens} ${Number(ofPrompts)}`;
    shapes.set(line, (shapes.get(line) ?? 0) + (isHead || job.kind === 'decode' ? 1 : job.slots / chunk));
  }
  let dense = 0;
  for (const [line, times] of shapes) {
    if (!products.has(line)) products.set(line, await repeated(helper, line, runs)); // jobs share most of them
    dense += times * products.get(line)!;
  }
  // attention: of a step one sequence at a time; of a prompt the first and the last chunk, in between it grows with the slots
  const open = (slots: number, tokens: number) =>
    helper.ask(
      `open ${layers} ${kvHeads} ${heads / kvHeads} ${headDim} ${slots + tokens} ${Math.max(64, tokens)} ${slots < 2048 ? 4 : 1} ${policy.library}`,
    );
  let attention = 0;
  if (job.kind === 'decode') {
    await open(job.slots, 1);
    const pass = policy.plan.observe.decode ? 'observe' : 'attend';
    attention = job.batch * (await repeated(helper, `pass ${pass} 1 ${job.slots} 0 0`, runs));
  } else {
    await open(job.slots, chunk);
    const at = async (slots: number) => repeated(helper, `pass attend ${chunk} ${slots} 0 0`, 1);
    const chunks = job.slots / chunk;
    const [first, last] = [await at(chunk), chunks > 1 ? await at(job.slots) : 0];
    attention = chunks > 1 ? (chunks * (first + last)) / 2 : first;
  }
  await helper.ask('close');
  return { dense, attention };
}

/** Median seconds of a command of the helper. */
async function repeated(helper: Child, line: string, runs: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < runs; i++) times.push((await helper.ask<Answer>(line)).seconds);
  return median(times);
}

export interface Bound {
  name: string;
  bytes: number;
  ops: number;
  floor: number;
  bound: 'memory' | 'arithmetic';
  seconds: Spread;
  tokens: number;
  /** measured seconds of the parts alone, and the least they could take */
  parts: { name: string; seconds: number; floor: number }[];
}

/** The part with most seconds above its floor. */
export function largestLoss({ parts: list, seconds }: Bound): string {
  const rest = Math.max(0, seconds.median - list.reduce((sum, part) => sum + part.seconds, 0));
  const losses = [
    ...list.map(({ name, seconds: spent, floor }) => ({ name, lost: spent - floor })),
    { name: 'everything else', lost: rest },
  ];
  const most = losses.reduce((a, b) => (b.lost > a.lost ? b : a));
  return most.lost <= 0 ? 'none' : `${most.name}: ${figure(most.lost * 1e3)} ms of ${figure(seconds.median * 1e3)}`;
}

export async function bounds(
  { model, none, h2o, runs, quick = false, only = [] }: BoundOptions,
  progress: (line: string) => void,
): Promise<Report> {
  const about = machine();
  const folder = mkdtempSync(join(tmpdir(), 'skv-bounds-'));
  const jobs = wantedJobs(quick, only);
  const helper = await startHelper();
  const engines = new Map<string, Child>();
  try {
    const tokens = join(folder, 'tokens.json');
    writeFileSync(tokens, JSON.stringify([...model.tokenizer.encode(mobyDick().slice(0, 80_000))].slice(0, 16_000)));
    for (const job of jobs)
      if (!engines.has(engineOf(job)))
        engines.set(
          engineOf(job),
          await startEngine(
            jobs.filter((each) => engineOf(each) === engineOf(job)),
            model,
            tokens,
          ),
        );
    const seen: Limits = await readLimits(helper, 1);
    const measured = await interleave(jobs, runs, async (job) => {
      const limits = await readLimits(helper, 1);
      for (const name of Object.keys(seen) as (keyof Limits)[]) seen[name].push(...limits[name]);
      const { first, steady } = await engines.get(engineOf(job))!.ask<SkvWorked>(job.work);
      return job.kind === 'prefill' ? first[0] : (steady.seconds / steady.tokens) * job.batch;
    });
    const rows: Bound[] = [];
    const products = new Map<string, number>();
    for (const job of jobs) {
      const spent = await parts(helper, job, model, job.policy === 'none' ? none : h2o, Math.min(runs, 3), products);
      const row = boundOf(job, model, limitsOf(seen), spread(measured.get(job)!), spent);
      rows.push(row);
      progress(
        `${row.name}: ${percent(row.floor / row.seconds.median)} of the ${row.bound} bound; ${largestLoss(row)}`,
      );
    }
    return {
      name: 'bounds',
      command: `skv bench bounds --runs ${runs}${quick ? ' --quick' : ''}${only.map((part) => ` --only '${part}'`).join('')}`,
      machine: about,
      tables: [
        { title: 'Limits of this machine', head: ['limit', 'median', 'range', 'n'], rows: limitRows(seen) },
        boundTable(model.name, rows),
      ],
      plots: [floorPlot(rows)],
      notes: [
        'Bytes: weights as the file has them, once a step, and keys and values of the live slots in 16 bits. Floor: bytes over read bandwidth, or dense operations over the int8 rate plus those of attention over the bf16 rate, whichever takes longer.',
        'Dense and attention: the same kernels alone, in the bench helper, with cold memory; attention of a decode step includes what an observing policy adds. The largest loss is the part with most time above its own floor; everything else is norms, rotation, sampling, the scheduler and the gaps.',
      ],
      data: { limits: seen, rows },
    };
  } finally {
    for (const child of engines.values()) await child.close();
    await helper.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Which engine runs a job. Where decoding is measured a prompt is read once: later rounds find it in the prefix cache. */
const engineOf = ({ policy, kind }: Job): string => `${policy}, ${kind}`;

/** An engine with room for its jobs, warmed up. */
async function startEngine(jobs: readonly Job[], model: LoadedModel, tokens: string): Promise<Child> {
  const { cores } = machine();
  const [{ policy, kind }] = jobs;
  const setup: SkvSetup = {
    model: model.spec.files[0],
    tokens,
    cpus: cores,
    threads: cores.length,
    sequences: Math.max(...jobs.map(({ batch }) => batch)),
    context: Math.max(...jobs.map(({ work }) => work.prompts[0][1] + work.count)) + 16,
    prefixCache: kind === 'decode',
    policy,
    params: policy === 'h2o' ? { budget: BUDGET, recent: 128 } : undefined,
  };
  const { child } = await startSkv(`skv with ${policy}`, setup);
  await child.ask({ prompts: [[0, 64]], count: 4 });
  return child;
}

/** A job's floor beside what was measured, and its parts beside theirs. */
function boundOf(
  job: Job,
  model: LoadedModel,
  limits: ReturnType<typeof limitsOf>,
  seconds: Spread,
  spent: { dense: number; attention: number },
): Bound {
  const needed = need(job, model);
  const { seconds: floor, bound } = floorOf(needed, limits);
  const cache = job.kind === 'prefill' ? 0 : needed.bytes - need({ ...job, slots: 0 }, model).bytes;
  const dense = Math.max((needed.bytes - cache) / limits.read, needed.denseOps / limits.int8);
  const attention = Math.max(cache / limits.read, needed.attentionOps / limits.bf16);
  return {
    name: job.name,
    bytes: needed.bytes,
    ops: needed.denseOps + needed.attentionOps,
    floor,
    bound,
    seconds,
    tokens: job.kind === 'prefill' ? job.slots : job.batch,
    parts: [
      { name: 'dense products', seconds: spent.dense, floor: dense },
      { name: 'attention', seconds: spent.attention, floor: attention },
    ],
  };
}

const boundTable = (model: string, rows: readonly Bound[]): Table => ({
  title: `From the bound down: ${model}`,
  head: [
    'work',
    'MB',
    'GFLOP',
    'floor, ms',
    'floor, tok/s',
    'bound by',
    'here, ms (range)',
    'here, tok/s',
    'of the floor',
    'dense, ms',
    'attention, ms',
    'largest loss',
    'n',
  ],
  rows: rows.map((row) => [
    row.name,
    row.bytes / 1e6,
    row.ops / 1e9,
    row.floor * 1e3,
    Math.round(row.tokens / row.floor),
    row.bound,
    `${figure(row.seconds.median * 1e3)} (${figure(row.seconds.min * 1e3)}–${figure(row.seconds.max * 1e3)})`,
    Math.round(row.tokens / row.seconds.median),
    percent(row.floor / row.seconds.median),
    row.parts[0].seconds * 1e3,
    row.parts[1].seconds * 1e3,
    largestLoss(row),
    row.seconds.n,
  ]),
});

const floorPlot = (rows: readonly Bound[]): Plot => ({
  name: 'floor',
  title: 'Part of the machine’s floor that is reached',
  kind: 'bar',
  x: 'work',
  y: 'floor ÷ measured time',
  values: rows.map((row) => ({
    series: row.bound,
    x: row.name,
    y: row.floor / row.seconds.median,
    low: row.floor / row.seconds.max,
    high: row.floor / row.seconds.min,
  })),
});
