/**
 * The generated kernels on other instruction sets: AVX2 (where the processor has it) and plain x86-64 by -march, aarch64
 * by a cross-compiler under emulation, AMX by instructions that are emulated where there are none; and by the other compiler
 * of GCC and clang, where it is installed. Machines with fused multiply-adds give the same bits, by either compiler; without,
 * and with Arm's or AMX's products of bf16, the same kept slots and nearly the same numbers.
 * Four policies cover the kernels: none (attention alone), h2o (observe, in place), streaming (turned keys), adakv (pool, heads
 * that share a budget).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { type Built, crossed } from './crossed.ts';
import { normals } from './dense.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type LayerInput, type ReadAnswer, type Shape, type Step, drive, floats } from './driver.ts';
import {
  aarch64,
  amx,
  armBf16,
  avx2,
  byOther,
  fusing,
  hasAvx2,
  missing,
  missingForAmx,
  own,
  plain,
} from './machines.ts';

interface Case {
  policy: string;
  budget: number;
  window: [number, number];
  observe: 'every' | 'last' | 'none';
}
const cases: Case[] = [
  { policy: 'none', budget: 0, window: [0, 0], observe: 'none' },
  { policy: 'h2o', budget: 120, window: [0, 40], observe: 'every' },
  { policy: 'streaming', budget: 90, window: [4, 86], observe: 'none' },
  { policy: 'adakv', budget: 100, window: [0, 8], observe: 'last' },
];
const PROMPT = 300; // past the first segment of attention
const GENERATED = 6;

const shapeOf = (kvType: Shape['kvType'], headDim: number, interleaved: boolean): Shape => ({
  kvType,
  layers: 2,
  kvHeads: 2,
  group: 3,
  headDim,
  maxTokens: 200,
  maxSlots: 320,
  interleaved,
  seqs: 1,
  invFreq: Float32Array.from({ length: headDim / 2 }, (_, i) => 10000 ** ((-2 * i) / headDim)),
});

/** A prompt in chunks, compacted at its end, then single tokens, each followed by a compaction. */
function steps(shape: Shape, { budget, window, observe }: Case, chunks: readonly number[]): Step[] {
  const next = random(7);
  const evicts = budget > 0;
  const cuts = [0, ...chunks, ...Array.from({ length: GENERATED + 1 }, (_, i) => PROMPT + i)];
  const heads = { q: shape.kvHeads * shape.group, k: shape.kvHeads, v: shape.kvHeads };
  const inputs = Array.from({ length: shape.layers }, () =>
    Object.entries(heads).map(([name, n]) => {
      const width = n * shape.headDim; // of a token
      return [name, width, normals(next, (PROMPT + GENERATED) * width)] as const;
    }),
  );
  return cuts.slice(1).map((to, i) => {
    const from = cuts[i];
    const n = to - from;
    const first = observe === 'every' ? from : Math.max(from, PROMPT - 8);
    const observed = observe === 'every' || (observe === 'last' && to === PROMPT);
    return {
      rows: [
        {
          seq: 0,
          tokens: n,
          pos0: from,
          prompt: PROMPT,
          observe: observed ? [first, to] : undefined,
          observeLast: observe === 'last' ? 8 : 0,
          compact: evicts && (to === PROMPT || (to > PROMPT && observe !== 'last')),
          window,
        },
      ],
      layers: inputs.map(
        (each) =>
          Object.fromEntries(
            each.map(([name, width, all]) => [name, all.subarray(from * width, to * width)]),
          ) as unknown as LayerInput,
      ),
      budgets: Array(shape.layers).fill(budget),
    };
  });
}

/** By `skv build`: plain x86-64 as native/portable.test.ts has it. AVX2 is crossed, since it may be what SKV_MARCH names. */
async function built(policy: string, march: string): Promise<Built> {
  const { library, plan } = await build(shipped(policy)!, { march });
  return { library, plan };
}
/** For this processor without its tiles; a run as on one with AVX2 alone (SKV_MARCH) has such builds already. */
const ownMarch = process.env.SKV_MARCH === avx2.name ? avx2.name : fusing;

const lacking = missing(aarch64);
const lackingAmx = missingForAmx();
const lackingOther = missing(byOther(own));
const is86 = process.arch === 'x64';
/** This processor multiplies and adds in one: every other processor but the oldest x86-64. */
const fuses = !is86 || hasAvx2();

/** What attention's products in another order could change: attention itself, and what a policy sees of it. */
const onBf16: readonly string[] = lacking ? [] : ['none', 'h2o'];

/** All builds, two at a time. */
async function buildAll() {
  type Builds = Partial<Record<'own' | 'avx2' | 'plain' | 'arm' | 'armBf16' | 'amx' | 'other' | 'otherPlain', Built>>;
  const out = new Map(cases.map(({ policy }) => [policy, {} as Builds]));
  const tasks = cases.flatMap(({ policy }) => {
    const to = out.get(policy)!;
    return [
      async () => void (to.own = await built(policy, ownMarch)),
      ...(is86 && fuses ? [async () => void (to.avx2 = await crossed(shipped(policy)!, avx2))] : []),
      ...(is86 ? [async () => void (to.plain = await built(policy, plain.name))] : []),
      ...(lacking ? [] : [async () => void (to.arm = await crossed(shipped(policy)!, aarch64))]),
      ...(lackingAmx ? [] : [async () => void (to.amx = await crossed(shipped(policy)!, amx))]),
      ...(lackingOther ? [] : [async () => void (to.other = await crossed(shipped(policy)!, byOther(own)))]),
      ...(lackingOther || !is86
        ? []
        : [async () => void (to.otherPlain = await crossed(shipped(policy)!, byOther(plain)))]),
      ...(onBf16.includes(policy) ? [async () => void (to.armBf16 = await crossed(shipped(policy)!, armBf16))] : []),
    ];
  });
  const work = async () => {
    for (let task = tasks.shift(); task; task = tasks.shift()) await task();
  };
  await Promise.all([work(), work()]);
  return out;
}
const builds = await buildAll();

/** Everything a case leaves behind: outputs of every step and layer, lengths, and each head's lanes, keys and values. */
function outcome({ library, plan, machine }: Built, shape: Shape, each: Case, chunks = [130]) {
  const reads = Array.from({ length: shape.layers * shape.kvHeads }, (_, i) => ({
    seq: 0,
    layer: Math.floor(i / shape.kvHeads),
    head: i % shape.kvHeads,
  }));
  const answer = drive(library, plan.lanes.length, shape, [...steps(shape, each, chunks), ...reads], {
    workers: 2,
    machine,
  });
  return {
    lengths: answer.steps.map(({ lengths }) => [...lengths]),
    outputs: answer.steps.flatMap(({ layers }) => layers.flatMap(({ out, lse }) => [out, lse])),
    heads: answer.reads,
  };
}
type Outcome = ReturnType<typeof outcome>;

const bits = (arrays: readonly (Float32Array | Int32Array)[]) =>
  Buffer.concat(arrays.map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength)));
const all = ({ outputs, heads }: Outcome) => [
  ...outputs,
  ...heads.flatMap(({ lanes, keys, values }) => [...lanes, keys, values]),
];

function sameBits(a: Outcome, b: Outcome, what: string): void {
  assert.equal(a.lengths, b.lengths, what);
  assert.ok(bits(all(a)).equals(bits(all(b))), `${what}: not the same bits`);
}

/** The same slots, and numbers that differ by rounding alone. */
function nearly(a: Outcome, b: Outcome, what: string, most = 1e-4): void {
  assert.equal(a.lengths, b.lengths, what);
  const positions = (head: ReadAnswer) => [...head.lanes[0]];
  assert.equal(a.heads.map(positions), b.heads.map(positions), `${what}: the same slots`);
  const close = (x: Float32Array, y: Float32Array, name: string) =>
    x.forEach((value, i) =>
      assert.ok(Math.abs(value - y[i]) <= most * Math.max(1, Math.abs(value)), `${what}, ${name}: ${value}, ${y[i]}`),
    );
  a.outputs.forEach((out, i) => close(out, b.outputs[i], 'attention'));
  a.heads.forEach((head, i) =>
    head.lanes.slice(1).forEach((lane, l) => close(floats(lane), floats(b.heads[i].lanes[l + 1]), 'state')),
  );
}

if (is86)
  for (const each of cases)
    test(`${each.policy}: AVX2 and plain x86-64`, () => {
      const { own, avx2, plain } = builds.get(each.policy)!;
      for (const [headDim, interleaved] of [
        [64, true],
        [80, false],
      ] as const) {
        const shape = shapeOf('f32', headDim, interleaved);
        const reference = outcome(own!, shape, each);
        if (avx2) sameBits(reference, outcome(avx2, shape, each), 'AVX2');
        nearly(reference, outcome(plain!, shape, each), 'plain');
      }
    });

for (const each of cases)
  (lacking ? test.skip : test)(`${each.policy}: aarch64, emulated`, () => {
    const { own, arm } = builds.get(each.policy)!;
    for (const kvType of ['bf16', 'f32'] as const) {
      const shape = shapeOf(kvType, 64, kvType === 'bf16');
      (fuses ? sameBits : nearly)(outcome(arm!, shape, each), outcome(own!, shape, each), `aarch64, ${kvType}`);
    }
  });

/** Where a logit's last bit differs, its probability may be the next number of bf16. */
const NEXT_BF16 = 2 ** -9;

/** Attention's products in an order of their own: nearly the reference's numbers, and a token's own bits in every chunk. */
function holdsOwnOrder(reference: Built, own: Built, each: Case, shape: Shape): void {
  const [expected, other] = [outcome(reference, shape, each), outcome(own, shape, each)];
  nearly(expected, other, 'bf16', NEXT_BF16);
  const differences = expected.outputs.flatMap((out, i) =>
    Array.from(out, (value, j) => Math.abs(value - other.outputs[i][j])),
  );
  const large = differences.filter((each) => each > 1e-6).length / differences.length;
  assert.ok(large > 0 && large < 0.02, `${large} of the numbers differ by more than a few bits`);
  if (each.budget > 0) return;
  // many rows at a time or one: a token has the same bits in every chunk
  const cut = outcome(own, shape, each, [1, 3, 100, 200, 299]);
  for (let kind = 0; kind < 2 * shape.layers; kind++) {
    const [a, b] = [other, cut].map(({ outputs }) => bits(outputs.filter((_, i) => i % (2 * shape.layers) === kind)));
    assert.ok(a.equals(b), 'the same bits in other chunks');
  }
}

for (const each of cases.filter(({ policy }) => onBf16.includes(policy)))
  test(`${each.policy}: aarch64 with dot products of bf16, emulated`, () => {
    const { arm, armBf16 } = builds.get(each.policy)!;
    holdsOwnOrder(arm!, armBf16!, each, shapeOf('bf16', 64, true));
  });

for (const each of cases)
  (lackingAmx ? test.skip : test)(`${each.policy}: AMX's tiles, emulated where there are none`, () => {
    const { own, amx } = builds.get(each.policy)!;
    for (const headDim of [64, 80]) holdsOwnOrder(own!, amx!, each, shapeOf('bf16', headDim, headDim === 64));
    const exact = shapeOf('f32', 64, true);
    sameBits(outcome(own!, exact, each), outcome(amx!, exact, each), 'f32 needs no tiles');
  });

for (const each of cases)
  (lackingOther ? test.skip : test)(`${each.policy}: the same bits by the other compiler`, () => {
    const { own, other, plain, otherPlain } = builds.get(each.policy)!;
    for (const kvType of ['bf16', 'f32'] as const) {
      const shape = shapeOf(kvType, 80, kvType === 'bf16');
      sameBits(outcome(own!, shape, each), outcome(other!, shape, each), kvType);
      if (plain) sameBits(outcome(plain, shape, each), outcome(otherPlain!, shape, each), `plain x86-64, ${kvType}`);
    }
  });

for (const each of [lacking, lackingAmx, lackingOther]) if (each) console.log(each);

test.run();
