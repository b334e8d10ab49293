/**
 * Test vectors for a GPU machine without Node: problems with the answers of the CPU library, in one file a case. Attention
 * is held against plain loops in doubles as it is written, and a case is taken only when the sets it keeps stay the same
 * under noise as large as the tolerance: a set that differs on the GPU is then a mistake and no tie.
 *
 *   file   "SKVV", i32 version, f32 tolerances of out, of lse, of states, i32 bytes of the problem, the problem, the answer;
 *          problem and answer as test/kernels/driver.cpp has them
 */
import { build } from '../../codegen/build.ts';
import type { BuiltPolicy, KvType } from '../../codegen/plan/types.ts';
import { attention, normals, rounded, scaled } from '../kernels/dense.ts';
import { random } from '../../codegen/oracle/random.ts';
import { sourceFor } from '../oracle/duo.ts';
import { type Read, type Shape, type Step, answers, problem, solve } from '../kernels/driver.ts';
import { type Request, type Rounding, script } from './script.ts';

/**
 * What agreement means, relative with a floor of 1. Logits, log-sum-exp and states are f32 sums in another order. Attention
 * rounds its weights to the type of the values, and out is stored in the io type: each costs half a unit of that type.
 * Keys turned to cache positions are rounded to their type once more: logits of size 1 move by a fraction of a unit.
 */
const unit: Record<KvType, number> = { f32: 1e-5, f16: 2 ** -11, bf16: 2 ** -8 };
const tolerance = (kv: KvType, io: KvType, turned: boolean) => {
  const moved = turned ? unit[kv] / 4 : 0;
  return { out: unit[kv] + unit[io] + moved, lse: 2e-5 + moved, states: 1e-4 };
};
/** Relative noise on queries that must not change what is kept. */
const NOISE = 2e-4;

interface Case {
  policy: string;
  params: Record<string, number>;
  kv: KvType;
  io: KvType;
  shape: Pick<Shape, 'layers' | 'kvHeads' | 'group' | 'headDim' | 'interleaved'>;
  requests: Request[];
}

/** Small budgets, so that short prompts compact often; each ends elsewhere in a page. */
const params: Record<string, Record<string, number>> = {
  none: {},
  streaming: { budget: 24 },
  h2o: { budget: 20, recent: 8 },
  tova: { budget: 19 },
  snapkv: { budget: 24, window: 7 },
  pyramidkv: { budget: 25, window: 4 },
  adakv: { budget: 22, window: 5 },
  adasnapkv: { budget: 21, window: 3 },
  chunkkv: { budget: 30, window: 6 },
  knorm: { budget: 18 },
  keydiff: { budget: 30 },
  vatp: { budget: 22, recent: 6, sinks: 3 },
  a2sf: { budget: 20 },
  lagkv: { budget: 22, lag: 4, sinks: 3 },
  scissorhands: { budget: 20, drop: 3, history: 12, recent: 4 },
  randomattn: { budget: 3, every: 1 }, // besides the prompt
  vase: { budget: 24, recent: 5, large: 6, sinks: 2 },
  duo: { sinks: 3, recent: 8 },
  fastgen: { recovers: 0.6, sinks: 2 },
};
/** Larger ones, across segments, splits and tiles. */
const larger: Record<string, Record<string, number>> = {
  none: {},
  streaming: { budget: 200 },
  h2o: { budget: 180, recent: 40 },
  tova: { budget: 270 },
  snapkv: { budget: 200, window: 32 },
  pyramidkv: { budget: 200, window: 8 },
  adakv: { budget: 170, window: 32 },
  adasnapkv: { budget: 170, window: 16 },
  chunkkv: { budget: 190, window: 32 },
  knorm: { budget: 257 },
  keydiff: { budget: 150 },
  vatp: { budget: 180, recent: 40, sinks: 8 },
  a2sf: { budget: 190 },
  lagkv: { budget: 180, lag: 2, sinks: 5 },
  scissorhands: { budget: 180, drop: 1, history: 100, recent: 10 },
  randomattn: { budget: 1, every: 1 },
  vase: { budget: 180, recent: 32, large: 60 },
  duo: { sinks: 16, recent: 60 },
  fastgen: { recovers: 0.7 },
};

/** All cases of duo have this shape: its table is for one. */
export const sourceOf = (policy: string): string => sourceFor(policy, { layers: 2, kvHeads: 2 });

const two: Request[] = [
  { start: 0, prompt: 42, chunk: 27, decode: 7 },
  { start: 1, prompt: 29, chunk: 29, decode: 4 },
];
const one = (prompt: number, chunk: number, decode: number): Request[] => [{ start: 0, prompt, chunk, decode }];

export function cases(): Case[] {
  const shape = { layers: 2, kvHeads: 2, group: 2, headDim: 64, interleaved: false };
  const wide = { layers: 1, kvHeads: 1, group: 2, headDim: 128, interleaved: false };
  const narrow = { layers: 1, kvHeads: 1, group: 1, headDim: 64, interleaved: true };
  const list: Case[] = [];
  for (const policy of Object.keys(params)) {
    const requests = policy === 'fastgen' ? [{ ...two[0], decode: 17 }, two[1]] : two; // it compacts every 16
    list.push({ policy, params: params[policy], kv: 'bf16', io: 'f32', shape, requests });
    const large = policy === 'duo' ? { ...shape, headDim: 128 } : wide;
    list.push({ policy, params: larger[policy], kv: 'bf16', io: 'f32', shape: large, requests: one(265, 200, 3) });
  }
  for (const [headDim, group] of [
    [80, 1],
    [96, 3],
    [256, 2],
    [128, 8],
  ])
    for (const policy of ['none', 'h2o'])
      list.push({
        policy,
        params: params[policy],
        kv: 'bf16',
        io: 'f32',
        shape: { ...shape, layers: 1, kvHeads: 1, headDim, group, interleaved: true },
        requests: two,
      });
  for (const [headDim, group] of [
    [128, 20],
    [256, 12],
  ])
    list.push({
      policy: 'h2o',
      params: params.h2o,
      kv: 'bf16',
      io: 'f32',
      shape: { ...narrow, headDim, group },
      requests: one(30, 30, 3),
    });
  for (const [policy, budget] of [
    ['none', {}],
    ['h2o', { budget: 900, recent: 300 }],
  ] as const)
    list.push({ policy, params: budget, kv: 'bf16', io: 'f32', shape: narrow, requests: one(1030, 1030, 2) });
  // each pair of head size and type is a set of kernels to compile: other types where there are few head sizes
  for (const [policy, types] of [
    ['h2o', ['bf16']],
    ['keydiff', ['bf16', 'f16']],
    ['snapkv', ['f16']],
    ['tova', ['f32']],
  ] as const)
    for (const type of types)
      list.push({ policy, params: params[policy], kv: type, io: type, shape: { ...shape, layers: 1 }, requests: two });
  return list;
}

export interface Vector {
  policy: string;
  /** file name, such as h2o-bf16-64x2x2-50 */
  name: string;
  bytes: Buffer;
}

/** The vector of a case, with the first seed whose kept sets are decided. */
export async function vector(each: Case): Promise<Vector> {
  const { policy, kv, io, requests } = each;
  const built = await build(sourceOf(policy));
  const longest = Math.max(...requests.map(({ prompt, decode }) => prompt + decode));
  const shape: Shape = {
    ...each.shape,
    kvType: 'f32', // what a page of `kv` holds is exact in f32
    seqs: requests.length,
    maxTokens: requests.reduce((sum, { chunk }) => sum + chunk, 0),
    maxSlots: longest + 16,
    invFreq: Float32Array.from({ length: each.shape.headDim / 2 }, (_, i) => 10000 ** ((-2 * i) / each.shape.headDim)),
  };
  for (let seed = 1; seed < 100; seed++) {
    const ops = script(built.plan, each.params, shape, requests, seed, rounding(each));
    const { stdout } = solve(built.library, problem(shape, ops));
    if (!decided(built, shape, ops, stdout)) continue;
    against(shape, ops, built, stdout);
    const { headDim, kvHeads, group } = shape;
    const name = `${policy}-${kv}-${io}-${headDim}x${kvHeads}x${group}-${longest}`;
    return { policy, name, bytes: file(each, built, shape, ops, stdout) };
  }
  throw new Error(`${policy}: no seed decides what is kept`);
}

/** The same problem in the case's types: its numbers are theirs already. */
function file({ kv, io }: Case, built: BuiltPolicy, shape: Shape, ops: (Step | Read)[], answer: Buffer): Buffer {
  const input = problem({ ...shape, kvType: kv, ioType: io }, ops);
  const head = Buffer.alloc(24);
  head.write('SKVV');
  head.writeInt32LE(1, 4);
  const { out, lse, states } = tolerance(kv, io, built.plan.lanes.includes('shift'));
  [out, lse, states].forEach((value, i) => head.writeFloatLE(value, 8 + 4 * i));
  head.writeInt32LE(input.length, 20);
  return Buffer.concat([head, input, answer]);
}

/** Whether the same slots stay when queries move a little. */
function decided(built: BuiltPolicy, shape: Shape, ops: (Step | Read)[], stdout: Buffer): boolean {
  const lanes = built.plan.lanes.length;
  const kept = (bytes: Buffer) => {
    const { steps, reads } = answers(bytes, lanes, shape, ops);
    return JSON.stringify([steps.map(({ lengths }) => [...lengths]), reads.map((read) => [...read.lanes[0]].sort())]);
  };
  const wanted = kept(stdout);
  return [1, 2, 3].every((seed) => {
    const next = random(seed);
    const noisy = ops.map((op) => {
      if (!('rows' in op)) return op;
      const layers = op.layers.map((layer) => {
        const noise = normals(next, layer.q.length, NOISE);
        return { ...layer, q: layer.q.map((x, i) => x * (1 + noise[i])) };
      });
      return { ...op, layers };
    });
    return kept(solve(built.library, problem(shape, noisy)).stdout) === wanted;
  });
}

/** The first step of every sequence against plain loops: nothing has been evicted yet. */
function against(shape: Shape, ops: (Step | Read)[], built: BuiltPolicy, stdout: Buffer): void {
  const { steps } = answers(stdout, built.plan.lanes.length, shape, ops);
  const { kvHeads, group, headDim } = shape;
  ops
    .filter((op): op is Step => 'rows' in op)
    .forEach((step, s) => {
      let token0 = 0;
      for (const row of step.rows) {
        const { k, v, q } = step.layers[0];
        const { out, lse } = steps[s].layers[0];
        if (row.pos0 === 0)
          for (let head = 0; head < kvHeads; head++) {
            const upTo = (x: Float32Array) =>
              Array.from({ length: row.tokens }, (_, t) =>
                x.subarray(((token0 + t) * kvHeads + head) * headDim).subarray(0, headDim),
              );
            const query = ((token0 + row.tokens - 1) * kvHeads + head) * group;
            const one = scaled(q.subarray(query * headDim, (query + 1) * headDim), 'f32');
            const expected = attention(one, upTo(k), upTo(v));
            const off = Math.max(
              Math.abs(expected.lse - lse[query]),
              ...expected.out.map((x, d) => Math.abs(x - out[query * headDim + d])),
            );
            if (!(off < 1e-5)) throw new Error(`${built.plan.name}: the CPU library is off by ${off}`);
          }
        token0 += row.tokens;
      }
    });
}

/** What is exact in the case's types. A scale that is no power of two leaves an error of f32, which rounding takes away. */
function rounding({ kv, io, shape }: Case): Rounding {
  const stored = (x: number) => rounded[io](rounded[kv](x));
  const scale = Math.fround(1 / Math.sqrt(shape.headDim));
  return { stored, query: (x) => Math.fround(stored(x * scale) / scale) };
}
