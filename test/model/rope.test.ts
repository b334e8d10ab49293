/** RoPE's types of scaling: config.json's against what transformers 4.57 computes of the same parameters (rope.json), GGUF's against config.json's. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type GgufRope, ggufRope } from '../../runtime/model/rope-gguf.ts';
import { storedRope } from '../../runtime/model/rope-stored.ts';
import { ropeFrequencies } from '../../runtime/model/rope.ts';
import { Stated } from '../../runtime/model/stated.ts';

interface Recorded {
  scaling: Record<string, unknown>;
  /** beside RoPE's parameters */
  original?: number;
  context: number;
  scale: number;
  invFreq: number[];
}
const recorded = JSON.parse(readFileSync(new URL('rope.json', import.meta.url), 'utf8')) as Recorded[];

const HEAD = 32;
const POSITIONS = 256;
const stated = (scaling: Record<string, unknown>) => new Stated(new Map(Object.entries(scaling)));

function near(got: Float32Array, expected: ArrayLike<number>, label: string): void {
  assert.is(got.length, expected.length, label);
  for (const [i, value] of got.entries())
    assert.ok(Math.abs(value / expected[i] - 1) < 1e-6, `${label}: frequency ${i} is ${value}, not ${expected[i]}`);
}

for (const { scaling, original, context, scale, invFreq } of recorded)
  test(`config.json: ${JSON.stringify(scaling).slice(0, 100)}`, () => {
    const sizes = { headDim: HEAD, positions: POSITIONS, original, context };
    const rope = storedRope(stated(scaling), sizes, 'config.json');
    near(ropeFrequencies(HEAD, { ...rope, dims: HEAD }), invFreq, 'frequencies');
    assert.ok(Math.abs((rope.scale ?? 1) / scale - 1) < 1e-6, `scale ${rope.scale}, not ${scale}`);
    const { rope_type, ...older } = scaling;
    assert.equal(storedRope(stated({ ...older, type: rope_type }), sizes, 'config.json'), rope, 'under its older key');
  });

function gguf(keys: Record<string, unknown>, factors: Record<string, Float32Array> = {}, context = POSITIONS) {
  const from: GgufRope = {
    value: (key) => keys[key],
    number: (key, fallback) => (keys[key] as number | undefined) ?? fallback!,
    factors: (name) => factors[name],
    headDim: HEAD,
    positions: POSITIONS,
    context,
    where: 'model.gguf',
  };
  return ggufRope(from);
}
const same = (keys: Parameters<typeof gguf>, scaling: Record<string, unknown>, context = POSITIONS) => {
  const [got, expected] = [
    gguf(...keys),
    storedRope(stated(scaling), { headDim: HEAD, positions: POSITIONS, original: 64, context }, 'config.json'),
  ];
  near(ropeFrequencies(HEAD, got), ropeFrequencies(HEAD, { ...expected, dims: HEAD }), JSON.stringify(scaling));
  assert.ok(Math.abs(got.scale! / (expected.scale ?? 1) - 1) < 1e-6);
};

test('GGUF: YaRN, with its borders and its factor of attention', () => {
  const [type, factor, original] = ['rope.scaling.type', 'rope.scaling.factor', 'rope.scaling.original_context_length'];
  const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64 };
  same([{ [type]: 'yarn', [factor]: 4, [original]: 64 }], yarn);
  const borders = { 'rope.scaling.yarn_beta_fast': 16, 'rope.scaling.yarn_beta_slow': 2 };
  same([{ [type]: 'yarn', [factor]: 4, [original]: 64, ...borders }], { ...yarn, beta_fast: 16, beta_slow: 2 });
  const { scale } = gguf({ [type]: 'yarn', [factor]: 4, [original]: 64, 'rope.scaling.attn_factor': 1.5 });
  assert.ok(Math.abs(scale! - 1.5 * (1 + 0.1 * Math.log(4))) < 1e-6);
});

test('GGUF: LongRoPE’s long factors where more than the original context is served, else its short ones', () => {
  const [short, long] = [1, 3].map((by) => Float32Array.from({ length: HEAD / 2 }, (_, i) => by + i / 8));
  const tensors = { 'rope_factors_short.weight': short, 'rope_factors_long.weight': long };
  const keys = { 'rope.scaling.original_context_length': 64, 'rope.scaling.attn_factor': 1.25 };
  const scaling = { rope_type: 'longrope', short_factor: [...short], long_factor: [...long], attention_factor: 1.25 };
  for (const context of [64, 65]) same([keys, tensors, context], scaling, context);
  assert.throws(() => gguf(keys, { 'rope_factors_short.weight': short }), /one of RoPE's short and long factors/);
});

test.run();
