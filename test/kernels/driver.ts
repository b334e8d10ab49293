/** Runs a policy library on a small problem through driver.cpp, the kernels alone: no model, no engine, no addon. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KvType } from '../../codegen/plan/types.ts';
import { compiler } from '../../toolchain/compilers.ts';
import { KvType as TypeNumber, MAX_PARAMS, Row as RowWords } from '../../runtime/contract/records.ts';

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
  /** of every layer: positions that a query sees, its own included; default all */
  window?: number;
  /** logits x become softCap · tanh(x / softCap); default: they stay */
  softCap?: number;
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
  seed?: [number, number];
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
  /** [seq][MAX_PARAMS] */
  params?: Float32Array;
  classes?: number[];
}

export interface Read {
  seq: number;
  layer: number;
  head: number;
}

/** The first page of one head becomes that of another, with its length. CUDA only: on the CPU the backend copies. */
export interface Copy {
  from: Read;
  to: Read;
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

/** A compiler for other processors, and what runs its programs here. */
export interface Machine {
  name: string;
  cxx: string;
  flags: string[];
  run: string[];
  /** linked to its programs */
  sources?: string[];
  /** Debian's packages of both */
  packages?: string;
}

/** This machine, with flags of its compiler's. */
export function host(name: string, ...flags: string[]): Machine {
  const [cxx, ...own] = compiler();
  return { name, cxx, flags: [...own, ...flags], run: [] };
}
const native = host('this');

const programs = new Map<string, string>();
const folder = mkdtempSync(join(tmpdir(), 'skv-driver-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Compiles C++ for a machine; rejects with what the compiler says. */
export async function compileFor({ cxx, flags }: Machine, args: string[]): Promise<void> {
  const child = spawn(cxx, [...flags, '-std=c++17', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => (errors += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(errors);
}

/** The driver, compiled once a process and machine. */
function driver(machine: Machine): string {
  const out = programs.get(machine.name) ?? join(folder, `driver-${machine.name}`);
  if (programs.has(machine.name)) return out;
  const include = `-I${join(here, '../../runtime/contract')}`;
  const files = [join(here, 'driver.cpp'), ...(machine.sources ?? [])];
  const args = ['-O1', '-std=c++17', include, ...files, '-o', out, '-ldl', '-lpthread'];
  const { status, stderr } = spawnSync(machine.cxx, [...machine.flags, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`driver.cpp: ${stderr}`);
  programs.set(machine.name, out);
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

export interface Options {
  /** order of the emulation's threads: forward, reverse or a seed */
  order?: string;
  workers?: number;
  /** > 1: time this many runs of each attend on threads; the times are in `report` */
  repeat?: number;
  /** where the library runs */
  machine?: Machine;
}

/** A row of the contract, of policy 0. */
function rowWords(row: Row, token0: number): Int32Array {
  const words = new Int32Array(RowWords.words);
  words[RowWords.seq] = row.seq;
  words[RowWords.token0] = token0;
  words[RowWords.tokens] = row.tokens;
  words[RowWords.pos0] = row.pos0;
  words[RowWords.prompt] = row.prompt;
  [words[RowWords.observe0], words[RowWords.observe1]] = row.observe ?? [0, 0];
  words[RowWords.observeLast] = row.observeLast ?? 0;
  words[RowWords.compact] = row.compact ? 1 : 0;
  [words[RowWords.windowFirst], words[RowWords.windowLast]] = row.window ?? [0, 0];
  [words[RowWords.seedLo], words[RowWords.seedHi]] = row.seed ?? [0, 0];
  return words;
}

/** The problem as driver.cpp reads it. */
export function problem(shape: Shape, ops: (Step | Read | Copy)[], options: Options = {}): Buffer {
  const { layers, kvHeads, group, headDim, seqs } = shape;
  const write = new Writer();
  write.words(
    TypeNumber[shape.kvType],
    TypeNumber[shape.ioType ?? 'f32'],
    layers,
    kvHeads,
    group,
    headDim,
    shape.maxTokens,
    shape.maxSlots,
    Number(shape.interleaved),
  );
  write.words(seqs, shape.window ?? 0);
  write.array(Float32Array.of(shape.softCap ?? 0));
  write.words(options.workers ?? 1, options.repeat ?? 1, ops.length);
  write.array(shape.invFreq);
  for (const op of ops) {
    if ('from' in op) {
      write.words(3, ...[op.from, op.to].flatMap(({ seq, layer, head }) => [seq, layer, head]));
      continue;
    }
    if (!('rows' in op)) {
      write.words(2, op.seq, op.layer, op.head);
      continue;
    }
    const tokens = op.rows.reduce((sum, row) => sum + row.tokens, 0);
    write.words(1, op.rows.length, tokens);
    let token0 = 0;
    for (const row of op.rows) {
      write.array(rowWords(row, token0));
      token0 += row.tokens;
    }
    write.array(Int32Array.from({ length: seqs * layers }, (_, i) => op.budgets?.[i] ?? 0));
    write.array(Int32Array.from({ length: tokens }, (_, i) => op.classes?.[i] ?? 0));
    write.array(op.params ?? new Float32Array(seqs * MAX_PARAMS));
    for (const { q, k, v } of op.layers) [q, k, v].forEach((each) => write.array(each));
  }
  return Buffer.concat(write.parts);
}

/** What the library answers to a problem, in words, and what the driver reports. `order`: of the emulation's threads. */
export function solve(
  library: string,
  input: Buffer,
  order = 'forward',
  machine = native,
): { stdout: Buffer; report: string } {
  const [command, ...args] = [...machine.run, driver(machine), library];
  const { status, stdout, stderr, signal } = spawnSync(command, args, {
    input,
    env: { ...process.env, SKV_EMULATE: order },
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Error(`driver ended with ${status ?? signal}: ${stderr}`);
  return { stdout, report: stderr.toString() };
}

/** Runs steps and reads in order; answers in the same order. `lanes` is the plan's number of lanes. */
export function drive(
  library: string,
  lanes: number,
  shape: Shape,
  ops: (Step | Read | Copy)[],
  options: Options = {},
) {
  const { stdout, report } = solve(library, problem(shape, ops, options), options.order, options.machine);
  return { ...answers(stdout, lanes, shape, ops), report };
}

/** An answer's words as the arrays they are. */
export function answers(stdout: Buffer, lanes: number, shape: Shape, ops: (Step | Read | Copy)[]) {
  const { layers, kvHeads, group, headDim, seqs } = shape;
  const bytes = stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.byteLength);
  let at = 0;
  const ints = (n: number) => new Int32Array(bytes, (at += n * 4) - n * 4, n);
  const reals = (n: number) => new Float32Array(bytes, (at += n * 4) - n * 4, n);
  const all = ops.flatMap((op): StepAnswer | ReadAnswer | [] => {
    if ('from' in op) return [];
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
