/** dsl/math.ts: its accuracy against double precision, its rounding, and the shape of its sums. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { builtins } from '../../codegen/ir/builtins.ts';
import { random } from '../../codegen/oracle/random.ts';
import * as math from '../../dsl/math.ts';
import type { Vec } from '../../dsl/slot.ts';

const f = Math.fround;
const cell = new Float32Array(1);
const bits = new Uint32Array(cell.buffer);

/** Distance between neighbouring f32 numbers at |x|. */
function ulp(x: number): number {
  cell[0] = Math.max(Math.abs(x), 2 ** -126);
  bits[0] = (bits[0] & 0x7f800000) >>> 0;
  return cell[0] * 2 ** -23;
}

/** The largest error over f32 samples, in ulp of the true value. */
function worst(fn: (x: number) => number, exact: (x: number) => number, sample: (u: number) => number): number {
  const next = random(7);
  let most = 0;
  for (let i = 0; i < 200_000; i++) {
    const x = f(sample(next()));
    const y = fn(x);
    assert.is(f(y), y, `f32 at ${x}`);
    most = Math.max(most, Math.abs(y - exact(x)) / ulp(exact(x)));
  }
  return most;
}

test('exp and log are within 2 ulp', () => {
  assert.ok(worst(math.exp, Math.exp, (u) => -87 + u * 175.7) <= 2);
  assert.ok(worst(math.exp, Math.exp, (u) => (u - 0.5) * 0.01) <= 2);
  assert.ok(worst(math.log, Math.log, (u) => 2 ** (-125 + u * 252)) <= 2);
  assert.ok(worst(math.log, Math.log, (u) => 0.5 + u * 1.5) <= 2);
});

test('sqrt is exact, sigmoid is within 4 ulp, tanh within 2e-7 of 1', () => {
  assert.ok(worst(math.sqrt, Math.sqrt, (u) => 2 ** (-100 + u * 200)) <= 0.5);
  assert.ok(
    worst(
      math.sigmoid,
      (x) => 1 / (1 + Math.exp(-x)),
      (u) => (u - 0.5) * 160,
    ) <= 4,
  );
  const next = random(9);
  for (let i = 0; i < 200_000; i++) {
    const x = f((next() - 0.5) * 2 ** (next() * 12 - 6));
    assert.ok(Math.abs(math.tanh(x) - Math.tanh(x)) <= 2e-7, `tanh(${x})`);
  }
});

test('the relative error of pow grows with the exponent it takes, as stated', () => {
  const next = random(3);
  for (let i = 0; i < 200_000; i++) {
    const x = f(2 ** (next() * 20 - 10));
    const y = f((next() - 0.5) * 20);
    const power = Math.abs(y * Math.log(x));
    if (power > 85) continue;
    const exact = x ** y;
    assert.ok(Math.abs(math.pow(x, y) - exact) <= exact * 2 ** -23 * (2 + 2 * power), `pow(${x}, ${y})`);
  }
});

test('the ends of the range', () => {
  const table: [number, number][] = [
    [math.exp(-Infinity), 0],
    [math.exp(-88), 0],
    [math.exp(89), Infinity],
    [math.exp(0), 1],
    [math.exp(-0), 1],
    [math.log(0), -Infinity],
    [math.log(-1), Number.NaN],
    [math.log(1), 0],
    [math.log(Infinity), Infinity],
    [math.log(1e-45), -Infinity],
    [math.pow(0, 0), 1],
    [math.pow(0, 2), 0],
    [math.pow(-2, 2), Number.NaN],
    [math.pow(Number.NaN, 0), 1],
    [math.pow(0, -1), Infinity],
    [math.tanh(100), 1],
    [math.tanh(-100), -1],
    [math.tanh(0), 0],
    [math.sigmoid(-1000), 0],
    [math.sigmoid(1000), 1],
    [math.sqrt(-1), Number.NaN],
    [math.sqrt(-0), -0],
    [math.abs(-0), 0],
    [math.sign(-0), -0],
    [math.sign(-3), -1],
    [math.sign(Number.NaN), Number.NaN],
    [math.floor(-0.5), -1],
    [math.ceil(-0.5), -0],
    [math.min(Number.NaN, 1), Number.NaN],
    [math.min(1, Number.NaN), 1],
    [math.max(-0, 0), -0],
    [math.min(0, -0), 0],
    [math.clamp(5, 0, 1), 1],
    [math.clamp(-5, 0, 1), 0],
  ];
  table.forEach(([got, expected], i) => assert.ok(Object.is(got, expected), `row ${i}: ${got}, not ${expected}`));
  for (const fn of [math.exp, math.log, math.tanh, math.sigmoid, math.sqrt])
    assert.ok(Number.isNaN(fn(Number.NaN)), fn.name);
});

const vector = (values: ArrayLike<number>) => Float32Array.from(values) as unknown as Vec;

test('sums over vectors: 16 interleaved parts in index order, then a tree', () => {
  const next = random(11);
  for (const dim of [16, 64, 80, 96, 128]) {
    const [a, b] = [0, 1].map(() => Float32Array.from({ length: dim }, () => (next() - 0.5) * 10 ** (next() * 6 - 3)));
    const parts = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < dim; i++) parts[i % 16] = f(parts[i % 16] + f(a[i] * b[i]));
    for (const width of [8, 4, 2, 1]) for (let l = 0; l < width; l++) parts[l] = f(parts[l] + parts[l + width]);
    assert.is(math.dot(vector(a), vector(b)), parts[0], `dim ${dim}`);
  }
  // an order that would give 0: the large ones meet in one part, the small one in another
  const [large, small] = [new Float32Array(16), new Float32Array(16).fill(1)];
  large.set([1e8, 1, 0, 0, 0, 0, 0, 0, -1e8]);
  assert.is(math.dot(vector(large), vector(small)), 1);
});

test('vectors: norm, cosine and the element-wise functions', () => {
  const [a, b] = [vector([3, 4]), vector([4, 3])];
  assert.is(math.norm(a), 5);
  assert.is(math.cosine(a, b), f(24 / 25));
  assert.ok(Number.isNaN(math.cosine(a, vector([0, 0]))));
  const list = (v: Vec) => Array.from(v as unknown as Float32Array);
  assert.equal(list(math.add(a, b)), [7, 7]);
  assert.equal(list(math.sub(a, b)), [-1, 1]);
  assert.equal(list(math.mul(a, b)), [12, 12]);
  assert.equal(list(math.scale(a, f(0.1))), [f(3 * f(0.1)), f(4 * f(0.1))]);
});

test('every function of the dsl has a signature of as many values', () => {
  assert.equal(Object.keys(builtins).sort(), Object.keys(math).sort());
  for (const [name, { args }] of Object.entries(builtins))
    assert.is(args.length, (math as Record<string, unknown> as Record<string, () => void>)[name].length, name);
});

test.run();
