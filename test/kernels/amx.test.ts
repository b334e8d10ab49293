/**
 * Attention by AMX's tiles: what the instruction computes, the cases of attention that every target has, and which text
 * runs where the processor has no tiles. Where it has none they are emulated (test/emulation/amx.cpp).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import { root } from '../../toolchain/folders.mjs';
import { shipped } from '../../codegen/build.ts';
import { attentionCases, inputs, shapeOf } from './attention.ts';
import { crossed } from './crossed.ts';
import { rounded } from './dense.ts';
import { compileFor, drive } from './driver.ts';
import { amx, amxIfThere, missingForAmx } from './machines.ts';
import { cpu, cpuWithAmx } from './runners.ts';

const lacking = missingForAmx();
const here = dirname(fileURLToPath(import.meta.url));

/** A number whose exponent is too small, as 0 of its sign. */
const flushed = (x: number): number => (Math.abs(x) < 2 ** -126 ? x * 0 : x);

/** sum [m][16] += a [m][2 k] . b [k][16][2], as Intel's manual says: even and odd products apart, then together. */
function dotBf16(sum: Float32Array, a: Float32Array, b: Float32Array, m: number, k: number): Float32Array {
  return sum.map((before, at) => {
    const [row, column] = [Math.floor(at / 16), at % 16];
    assert.ok(row < m);
    const parts = [0, 1].map((odd) => {
      let part = 0;
      for (let i = 0; i < k; i++) {
        const [x, y] = [a[(row * k + i) * 2 + odd], b[(i * 16 + column) * 2 + odd]];
        part = flushed(Math.fround(part + flushed(x) * flushed(y))); // a product of two bf16 is exact
      }
      return part;
    });
    return flushed(Math.fround(flushed(before) + flushed(Math.fround(parts[0] + parts[1]))));
  });
}

const bf16 = (x: Float32Array): Uint16Array =>
  Uint16Array.from(new Uint32Array(x.buffer, x.byteOffset, x.length), (bits) => bits >>> 16);

const sameBits = (a: Float32Array, b: Float32Array, what: string): void => {
  const differs = a.findIndex((x, i) => !Object.is(x, b[i]));
  assert.is(differs, -1, `${what}: number ${differs} is ${a[differs]} and ${b[differs]}`);
};

async function instructionCase(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'skv-amx-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, 'tiles');
  const include = `-I${join(root, 'runtime/contract')}`;
  await compileFor(amx, ['-O2', include, join(here, 'tiles.cpp'), ...amx.sources!, '-o', program]);
  const next = random(5);
  for (const scale of [1, 2 ** 60, 2 ** -63, 2 ** -70])
    for (const [m, k] of [
      [16, 16],
      [3, 8],
      [1, 16],
    ]) {
      const numbers = (n: number, by: number) =>
        Float32Array.from({ length: n }, () => rounded.bf16((next() - 0.5) * by));
      const [a, b] = [numbers(m * k * 2, scale), numbers(k * 32, scale)];
      const before = Float32Array.from({ length: m * 16 }, () => (next() - 0.5) * scale * scale);
      a[0] = 2 ** -130; // no number to the instruction
      const input = Buffer.concat([Int32Array.of(m, k), before, bf16(a), bf16(b)].map((x) => Buffer.from(x.buffer)));
      const { status, stdout, stderr } = spawnSync(program, { input });
      assert.is(status, 0, `${stderr}`);
      const answer = new Float32Array(stdout.buffer.slice(stdout.byteOffset, stdout.byteOffset + stdout.length));
      sameBits(answer, dotBf16(before, a, b, m, k), `${m} rows, ${k} pairs, numbers of ${scale}`);
    }
}

async function choiceCase(): Promise<void> {
  const shape = shapeOf(64, 3, 'bf16');
  const all = inputs(shape, 40, 9);
  const step = { rows: [{ seq: 0, tokens: 40, pos0: 0, prompt: 40 }], layers: [all] };
  const { library } = await crossed(shipped('none')!, amxIfThere);
  const [found] = drive(library, 1, shape, [step]).steps;
  const runner = native().isas(cpuBackend()).includes('amx') ? cpuWithAmx : cpu;
  const expected = await runner.policy('none', shape);
  const [same] = drive(expected.library, 1, shape, [step], { machine: runner.machine }).steps;
  sameBits(found.layers[0].out, same.layers[0].out, `as ${runner.name}`);
}

if (lacking) {
  console.log(lacking);
  test.skip('attention by AMX', () => {});
} else {
  test('an instruction is what the manual says', instructionCase);
  test('a library with two texts takes the one that the processor has', choiceCase);
  attentionCases(cpuWithAmx, {
    headDims: [64, 80, 128],
    tolerance: { bf16: 1e-5 },
    lengths: [1, 15, 16, 17, 257, 300],
    cut: [
      [64, 3, 'bf16'],
      [80, 1, 'bf16'],
      [128, 17, 'bf16'],
    ],
    cutLength: 270,
    cuts: [[1], [7], [250, 1, 1, 1, 1, 1, 1, 1, 64], [257]],
    observed: [
      [64, 3, 'bf16'],
      [80, 2, 'bf16'],
    ],
    observedLength: 290,
    observedCuts: [[600], [1], [13], [256, 1, 33]],
    observedTolerance: { bf16: 2e-4 }, // a weight whose logit's last bit differs may be the next number of bf16
    observes: 'weights',
    windows: [
      [80, 4, 'bf16', 100, 3],
      [64, 2, 'bf16', 255, 2],
    ],
    windowLength: 300,
    windowCuts: [[600], [1], [7], [250, 1, 1, 1, 64]],
  });
}

test.run();
