/**
 * Attention in CUDA's text beside a prompt's, run by the emulation: generated tokens of every size of group, types of queries
 * and outputs, bits that must not depend on company, and what is refused.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { against, inputs } from './attention.ts';
import { normals, rounded } from './dense.ts';
import { random } from '../../codegen/oracle/random.ts';
import { type Shape, type Step, drive } from './driver.ts';
import { type Runs, emulated } from './runners.ts';

/** A small problem: a prompt of 20 tokens and two generated ones. */
const shape: Shape = {
  kvType: 'bf16',
  layers: 1,
  kvHeads: 2,
  group: 2,
  headDim: 64,
  maxTokens: 20,
  maxSlots: 32,
  interleaved: true,
  seqs: 2,
  invFreq: new Float32Array(32),
};
const libraryFor = async (runs: Runs) => (await emulated('forward').policy('none', runs)).library;
const library = await libraryFor(shape);
const steps = (length: number, values: (x: number) => number): Step[] => {
  const next = random(3);
  const layer = (n: number) => {
    const [q, k, v] = [256, 128, 128].map((per) => normals(next, n * per).map(values));
    return { q, k, v };
  };
  const row = (tokens: number, pos0: number) => ({
    rows: [{ seq: 0, tokens, pos0, prompt: length }],
    layers: [layer(tokens)],
  });
  return [row(length, 0), row(1, length), row(1, length + 1)];
};

for (const type of ['bf16', 'f16'] as const)
  test(`queries, keys, values and outputs in ${type}: the same attention, rounded once more`, async () => {
    const library = await libraryFor({ ...shape, kvType: type });
    const problem = steps(18, rounded[type]);
    const outputs = (ioType: 'f32' | 'bf16' | 'f16') =>
      drive(library, 1, { ...shape, kvType: type, ioType }, problem).steps.map(({ layers }) => layers[0].out);
    const [wide, narrow] = [outputs('f32'), outputs(type)];
    wide.forEach((out, i) => assert.equal(narrow[i], out.map(rounded[type]), `step ${i}`));
  });

/** Generated tokens of every size of group: parts, tiles and splits of decode, against plain loops. */
for (const [headDim, group, kvType, length] of [
  [64, 1, 'bf16', 300],
  [64, 16, 'bf16', 40],
  [64, 37, 'bf16', 33],
  [80, 7, 'bf16', 272],
  [80, 9, 'f16', 18],
  [96, 8, 'f16', 259],
  [96, 12, 'bf16', 20],
  [128, 5, 'bf16', 530],
  [128, 20, 'f16', 31],
  [256, 4, 'bf16', 261],
  [256, 11, 'f16', 23],
  [80, 10, 'f32', 34],
  [256, 3, 'f32', 258],
] as const)
  test(`generated tokens: ${group} query heads of ${headDim}, ${kvType}, ${length} slots`, async () => {
    const wide: Shape = { ...shape, kvType, group, headDim, maxTokens: length, maxSlots: length + 2 };
    const library = await libraryFor(wide);
    wide.invFreq = new Float32Array(headDim / 2);
    const layers = [length, 1, 1].map((n, i) => inputs(wide, n, headDim + group + i));
    const ops = layers.map((layer, i) => ({
      rows: [{ seq: 0, tokens: i ? 1 : length, pos0: i ? length + i - 1 : 0, prompt: length }],
      layers: [layer],
    }));
    const { steps: answers } = drive(library, 1, wide, ops, { order: '5' });
    const all = (what: 'k' | 'v') =>
      Float32Array.from(layers.flatMap((layer) => [...layer[what].map(rounded[kvType])]));
    const [k, v] = [all('k'), all('v')];
    for (const step of [1, 2])
      for (let head = 0; head < wide.kvHeads; head++)
        against(wide, { q: layers[step].q, k, v }, answers[step].layers[0], {
          token: 0,
          head,
          live: length + step,
          tolerance: 1e-5,
          label: `token ${step}, KV head ${head}`,
        });
  });

test('a generated token has the same bits alone, beside others, and on a device of any size', () => {
  const [length, long] = [530, { ...shape, kvHeads: 1, group: 1, maxTokens: 540, maxSlots: 560 }];
  const next = random(11);
  const layer = (n: number) => {
    const [q, k, v] = [64, 64, 64].map((per) => normals(next, n * per));
    return { q, k, v };
  };
  const prompts = [0, 1].map((seq) => ({
    rows: [{ seq, tokens: length + seq * 9, pos0: 0, prompt: length + seq * 9 }],
    layers: [layer(length + seq * 9)],
  }));
  const both = layer(2);
  const token = (seq: number) => ({ seq, tokens: 1, pos0: length + seq * 9, prompt: length + seq * 9 });
  const first = (x: Float32Array) => x.slice(0, 64);
  const alone = { rows: [token(0)], layers: [{ q: first(both.q), k: first(both.k), v: first(both.v) }] };
  const together = { rows: [token(0), token(1)], layers: [both] };
  const run = (last: Step, workers: number) => {
    const { steps: answers } = drive(library, 1, long, [...prompts, last], { workers });
    return first(answers[2].layers[0].out);
  };
  const expected = run(alone, 1);
  assert.ok(expected.every(Number.isFinite));
  for (const workers of [1, 132]) {
    assert.equal(run(alone, workers), expected);
    assert.equal(run(together, workers), expected);
  }
});

test('a head size that the library does not hold is refused with what to do', () => {
  const other = { ...shape, headDim: 96, invFreq: new Float32Array(48) };
  const layers = [{ q: new Float32Array(4 * 96), k: new Float32Array(2 * 96), v: new Float32Array(2 * 96) }];
  assert.throws(
    () => drive(library, 1, other, [{ rows: [{ seq: 0, tokens: 1, pos0: 0, prompt: 1 }], layers }]),
    /no kernel for this head size, group or KV type in the library \(on CUDA, build with --head-dim and --kv\)/,
  );
});

test('a page is copied whole', () => {
  const [from, to] = [
    { seq: 0, layer: 0, head: 1 },
    { seq: 1, layer: 0, head: 0 },
  ];
  const { reads } = drive(library, 1, shape, [steps(12, (x) => x)[0], from, { from, to }, to]);
  assert.is(reads[0].live, 12);
  assert.equal(reads[1], reads[0]);
});

test.run();
