/** Runs a policy library on a small problem through driver.cpp, the kernels alone: no model, no engine, no addon. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KvType } from '../../codegen/plan-types.ts';

const here = dirname(fileURLToPath(import.meta.url));

export interface Shape {
  kvType: KvType;
  /** of q, k, v and out; default f32 */
  ioType?: KvType;
  layers: number;
  kvHeads: number;
  group: number;
  headDim: number;
  maxTokens: number;
  maxSlots: number;
  interleaved: boolean;
  seqs: number;
  invFreq: Float32Array;
}

/** skv_row's words; the rest are 0. `token0` follows from the order of the rows. */
export interface Row {
  seq: number;
  tokens: number;
  pos0: number;
  prompt: number;
  observe?: [number, number];
  observeLast?: number;
  compact?: boolean;
  window?: [number, number];
}

/** One layer's inputs of a step: q [token][kvHeads * group][dim], k and v [token][kvHeads][dim]. */
export interface LayerInput {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
}

export interface Step {
  rows: Row[];
  layers: LayerInput[];
  /** [seq][layer] */
  budgets?: number[];
  classes?: number[];
}

export interface Read {
  seq: number;
  layer: number;
  head: number;
}

export interface StepAnswer {
  layers: { out: Float32Array; lse: Float32Array }[];
  /** [seq][layer][kvHead] live slots after the step */
  lengths: Int32Array;
}

export interface ReadAnswer {
  live: number;
  /** [lane][slot] words; f32 lanes through `floats` */
  lanes: Int32Array[];
  keys: Float32Array;
  values: Float32Array;
}

export const floats = (lane: Int32Array): Float32Array => new Float32Array(lane.buffer, lane.byteOffset, lane.length);

let program: string | undefined;

/** Compiles the driver once a process. */
function driver(): string {
  if (program) return program;
  const folder = mkdtempSync(join(tmpdir(), 'skv-driver-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const out = join(folder, 'driver');
  const args = [
    '-O1',
    '-std=c++17',
    `-I${join(here, '../../runtime/native')}`,
    join(here, 'driver.cpp'),
    '-o',
    out,
    '-ldl',
    '-lpthread',
  ];
  const { status, stderr } = spawnSync('c++', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`driver.cpp: ${stderr}`);
  program = out;
  return out;
}

/** Writes words and arrays one after the other. */
class Writer {
  readonly parts: Buffer[] = [];
  words(...values: number[]): void {
    this.array(Int32Array.from(values));
  }
  array(values: Int32Array | Float32Array): void {
    this.parts.push(Buffer.from(values.buffer, values.byteOffset, values.byteLength));
  }
}

/** Numbers of abi.h. */
const kvTypes: Record<KvType, number> = { bf16: 0, f32: 1, f16: 2 };

export interface Options {
  /** order of the emulation's threads: forward, reverse or a seed */
  order?: string;
  workers?: number;
  /** > 1: time this many runs of each attend on threads; the times are in `report` */
  repeat?: number;
}

/** The problem as driver.cpp reads it. */
export function problem(shape: Shape, ops: (Step | Read)[], options: Options = {}): Buffer {
  const { layers, kvHeads, group, headDim, seqs } = shape;
  const write = new Writer();
  write.words(
    kvTypes[shape.kvType],
    kvTypes[shape.ioType ?? 'f32'],
    layers,
    kvHeads,
    group,
    headDim,
    shape.maxTokens,
    shape.maxSlots,
    Number(shape.interleaved),
  );
  write.words(seqs, options.workers ?? 1, options.repeat ?? 1, ops.length);
  write.array(shape.invFreq);
  for (const op of ops) {
    if (!('rows' in op)) {
      write.words(2, op.seq, op.layer, op.head);
      continue;
    }
    const tokens = op.rows.reduce((sum, row) => sum + row.tokens, 0);
    write.words(1, op.rows.length, tokens);
    let token0 = 0;
    for (const {
      seq,
      tokens: n,
      pos0,
      prompt,
      observe = [0, 0],
      observeLast = 0,
      compact,
      window = [0, 0],
    } of op.rows) {
      write.words(
        seq,
        0,
        token0,
        n,
        pos0,
        prompt,
        observe[0],
        observe[1],
        observeLast,
        Number(compact ?? false),
        window[0],
        window[1],
      );
      token0 += n;
    }
    write.array(Int32Array.from({ length: seqs * layers }, (_, i) => op.budgets?.[i] ?? 0));
    write.array(Int32Array.from({ length: tokens }, (_, i) => op.classes?.[i] ?? 0));
    write.array(new Float32Array(seqs * 16));
    for (const { q, k, v } of op.layers) [q, k, v].forEach((each) => write.array(each));
  }
  return Buffer.concat(write.parts);
}

/** What the library answers to a problem, in words, and what the driver reports. `order`: of the emulation's threads. */
export function solve(library: string, input: Buffer, order = 'forward'): { stdout: Buffer; report: string } {
  const { status, stdout, stderr, signal } = spawnSync(driver(), [library], {
    input,
    env: { ...process.env, SKV_EMULATE: order },
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Error(`driver ended with ${status ?? signal}: ${stderr}`);
  return { stdout, report: stderr.toString() };
}

/** Runs steps and reads in order; answers in the same order. `lanes` is the plan's number of lanes. */
export function drive(library: string, lanes: number, shape: Shape, ops: (Step | Read)[], options: Options = {}) {
  const { stdout, report } = solve(library, problem(shape, ops, options), options.order);
  return { ...answers(stdout, lanes, shape, ops), report };
}

/** An answer's words as the arrays they are. */
export function answers(stdout: Buffer, lanes: number, shape: Shape, ops: (Step | Read)[]) {
  const { layers, kvHeads, group, headDim, seqs } = shape;
  const bytes = stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.byteLength);
  let at = 0;
  const ints = (n: number) => new Int32Array(bytes, (at += n * 4) - n * 4, n);
  const reals = (n: number) => new Float32Array(bytes, (at += n * 4) - n * 4, n);
  const all = ops.map((op): StepAnswer | ReadAnswer => {
    if ('rows' in op) {
      const tokens = op.rows.reduce((sum, row) => sum + row.tokens, 0);
      const answer = op.layers.map(() => ({
        out: reals(tokens * kvHeads * group * headDim),
        lse: reals(tokens * kvHeads * group),
      }));
      return { layers: answer, lengths: ints(seqs * layers * kvHeads) };
    }
    const live = ints(1)[0];
    return {
      live,
      lanes: Array.from({ length: lanes }, () => ints(live)),
      keys: reals(live * headDim),
      values: reals(live * headDim),
    };
  });
  return {
    steps: all.filter((each): each is StepAnswer => 'lengths' in each),
    reads: all.filter((each): each is ReadAnswer => 'live' in each),
  };
}
