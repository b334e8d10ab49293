/** What kinds of work cannot do without: bytes to read and operations to do, from the model alone. */
import type { LoadedModel } from '../runtime/model/types.ts';
import { slotBytes } from '../runtime/contract/page.ts';
import { KvType, type RoleName } from '../runtime/contract/records.ts';
import { UserError } from '../toolchain/errors.ts';
import type { limitsOf } from './limits.ts';
import type { Work } from './peers/protocol.ts';

/** A kind of work, for one step: a decode step of `batch` sequences, or the reading of one prompt. */
export interface Job {
  name: string;
  kind: 'prefill' | 'decode';
  /** live slots of each sequence, or tokens of the prompt */
  slots: number;
  batch: number;
  policy: 'none' | 'h2o';
  work: Work;
}

export const BUDGET = 672;

export function jobsOf(quick: boolean): Job[] {
  const eight = (length: number): [number, number][] => Array.from({ length: 8 }, (_, i) => [1 + i * 700, length]);
  const prefill = (slots: number): Job => ({
    name: `prefill ${slots}`,
    kind: 'prefill',
    slots,
    batch: 1,
    policy: 'none',
    work: { prompts: [[0, slots]], count: 1 },
  });
  const decode = (slots: number): Job => ({
    name: `decode at ${slots}`,
    kind: 'decode',
    slots,
    batch: 1,
    policy: 'none',
    work: { prompts: [[0, slots]], count: 32 },
  });
  const many = (length: number, policy: 'none' | 'h2o'): Job => ({
    name: `8 × ${length}, ${policy === 'none' ? 'full cache' : `h2o at ${BUDGET}`}`,
    kind: 'decode',
    slots: policy === 'none' ? length : BUDGET,
    batch: 8,
    policy,
    work: { prompts: eight(length), count: Math.ceil((8 * length) / 512) + 32 }, // the steps that read the prompts, and more
  });
  if (quick) return [prefill(512), decode(128), decode(1024), many(1000, 'none'), many(1000, 'h2o')];
  return [
    ...[512, 2048, 7000].map(prefill),
    ...[128, 1024, 4096, 8000].map(decode),
    many(4000, 'none'),
    many(4000, 'h2o'),
  ];
}

/** The work to measure. A part of a name that nothing has is refused. */
export function wantedJobs(quick: boolean, only: readonly string[]): Job[] {
  const jobs = jobsOf(quick);
  const unknown = only.find((part) => !jobs.some(({ name }) => name.includes(part)));
  if (unknown !== undefined)
    throw new UserError(
      `--only ${unknown}: no work is called that. What is measured: ${jobs.map(({ name }) => name).join(', ')}.`,
    );
  return only.length ? jobs.filter(({ name }) => only.some((part) => name.includes(part))) : jobs;
}

/** What a job cannot do without. Weights are read once a step; the head of a prompt's last token alone. */
export function need(job: Job, model: LoadedModel): { bytes: number; denseOps: number; attentionOps: number } {
  const { tensors, layers, heads, kvHeads, headDim } = model.spec;
  const matrices = tensors.filter(({ role, rows, cols }) => role !== 'embed' && rows > 1 && cols > 1);
  const tied = !tensors.some(({ role }) => role === 'output');
  const head = tensors.find(({ role }) => role === (tied ? 'embed' : 'output'))!;
  const inner = matrices.filter(({ role }) => role !== 'output');
  const sum = (list: typeof tensors, of: (tensor: (typeof tensors)[number]) => number) =>
    list.reduce((total, tensor) => total + of(tensor), 0);
  const weights = sum(inner, ({ bytes }) => bytes) + head.bytes;
  const perToken = 2 * sum(inner, ({ rows, cols }) => rows * cols);
  const headOps = 2 * head.rows * head.cols;
  const slot = layers * kvHeads * slotBytes({ headDim, kvType: KvType.bf16, lanes: 0 }); // keys and values
  const pairOps = 4 * layers * heads * headDim;
  const { slots, batch } = job;
  return job.kind === 'prefill'
    ? {
        bytes: weights + slots * slot,
        denseOps: slots * perToken + headOps,
        attentionOps: (pairOps * slots * (slots + 1)) / 2,
      }
    : {
        bytes: weights + batch * slots * slot,
        denseOps: batch * (perToken + headOps),
        attentionOps: pairOps * batch * slots,
      };
}

/** The least seconds: memory and arithmetic overlap at best. */
export function floorOf(
  { bytes, denseOps, attentionOps }: ReturnType<typeof need>,
  { read, int8, bf16 }: ReturnType<typeof limitsOf>,
) {
  const [memory, arithmetic] = [bytes / read, denseOps / int8 + attentionOps / bf16];
  return {
    seconds: Math.max(memory, arithmetic),
    bound: memory >= arithmetic ? ('memory' as const) : ('arithmetic' as const),
  };
}

/** The dense products of a step as the engine runs them: query, key and value together, gate and up together. */
export function productsOf(model: LoadedModel): { type: number; rows: number; cols: number; isHead: boolean }[] {
  const { tensors } = model.spec;
  const head = tensors.some(({ role }) => role === 'output') ? 'output' : 'embed';
  const together: RoleName[][] = [['q', 'k', 'v'], ['gate', 'up'], ['o'], ['down'], [head]];
  const products = new Map<string, { type: number; rows: number; cols: number; isHead: boolean }>();
  for (const { role, layer, type, rows, cols } of tensors) {
    const group = together.findIndex((roles) => roles.includes(role));
    if (group < 0) continue;
    const key = `${layer} ${group} ${type}`; // another type is another product
    const before = products.get(key)?.rows ?? 0;
    products.set(key, { type, rows: before + rows, cols, isHead: role === head });
  }
  return [...products.values()];
}
