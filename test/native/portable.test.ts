/**
 * The dense model on other instruction sets: the whole engine on each path that this processor has (SKV_ISA with SKV_MARCH
 * for its policies), and the CPU backend compiled for others, whose products have the same bits: aarch64 under emulation,
 * AMX with its instructions emulated, and by the other compiler of GCC and clang.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WeightType } from '../../runtime/contract/records.ts';
import { cpuBackend, native } from '../../runtime/native/index.ts';
import { type Machine, compileFor } from '../kernels/driver.ts';
import { root } from '../../toolchain/folders.mjs';
import { aarch64, byOther, compilesAmx, hasVnni, missing, own, vnni } from '../kernels/machines.ts';
import { fileWeights, widthsOf } from './blocks.ts';
import { byBf16, promptProduct, toBf16 } from './prompts.ts';
import { random } from '../../codegen/oracle/random.ts';

const here = dirname(fileURLToPath(import.meta.url));
const sources = ['cpu', 'loader', 'step'].map((room) => join(root, 'runtime/native', room));
const folder = mkdtempSync(join(tmpdir(), 'skv-portable-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const rooms = [...sources, join(root, 'runtime/contract')].map((room) => `-I${room}`);
const FLAGS = ['-O2', '-ffp-contract=off', '-fno-math-errno', '-Wall', '-Werror', ...rooms];
const files = sources
  .flatMap((room) => readdirSync(room).map((name) => join(room, name)))
  .filter((name) => name.endsWith('.cpp'));

/** A program of product.cpp and sources of the backend, compiled for a machine two at a time. */
async function productsOn(machine: Machine, chosen: readonly string[]): Promise<string> {
  const queue = [...chosen, join(here, 'product.cpp'), ...(machine.sources ?? [])];
  const objects: string[] = [];
  const work = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const object = join(folder, `${machine.name}-${objects.length}.o`);
      objects.push(object);
      await compileFor(machine, [...FLAGS, '-c', file, '-o', object]);
    }
  };
  await Promise.all([work(), work()]);
  const program = join(folder, machine.name);
  await compileFor(machine, [...objects, '-o', program, '-ldl', '-lpthread']);
  return program;
}

/** What product.cpp is asked for. */
const Asked = { product: 0, ofPrompts: 1, gated: 2 } as const;

/** Arrays for a program of product.cpp, and the answer that it must give on each of these paths. */
function expectAnswer(
  { run }: Machine,
  program: string,
  isas: readonly string[],
  input: readonly ArrayBufferView[],
  expected: readonly Float32Array[],
): void {
  const bytes = (arrays: readonly ArrayBufferView[]) =>
    Buffer.concat(arrays.map((each) => Buffer.from(each.buffer, each.byteOffset, each.byteLength)));
  assert.ok(expected.every((each) => each.every(Number.isFinite)));
  const [command, ...args] = [...run, program];
  for (const isa of isas) {
    const env = { ...process.env, SKV_ISA: isa };
    const { status, stdout, stderr } = spawnSync(command, args, { input: bytes(input), maxBuffer: 1 << 28, env });
    assert.is(status, 0, `${isa}: ${stderr}`);
    assert.ok(stdout.equals(bytes(expected)), `${isa}: the same bits`);
  }
}

/** Products of every weight type: they have this machine's bits, those of prompts plain loops'. */
function compare(machine: Machine, program: string, isas: readonly string[], ofPrompts = false): void {
  const next = random(3);
  const input: ArrayBufferView[] = [];
  const expected: Float32Array[] = [];
  for (const type of Object.values(WeightType)) {
    const widths = widthsOf(type);
    for (const [rows, cols, tokens] of [
      [17, widths[1], 1],
      [48, widths.at(-1)!, 5],
      [33, widths[1], 61],
    ]) {
      const weights = fileWeights(type, rows, cols, next);
      const x = Float32Array.from({ length: tokens * cols }, () => (next() - 0.5) * 3);
      input.push(Int32Array.of(ofPrompts ? Asked.ofPrompts : Asked.product, type, rows, cols, tokens), weights, x);
      const [isa] = native().isas(cpuBackend());
      const apart = ofPrompts && promptProduct(type, rows, cols, weights, tokens, x);
      expected.push(apart || native().testMatmul(cpuBackend(), isa, type, rows, cols, weights, tokens, x));
    }
  }
  expectAnswer(machine, program, isas, input, expected);
}

/** What a gated MLP hands to its last product, of prompts: plain loops' bits. */
function compareGated(machine: Machine, program: string, isas: readonly string[]): void {
  const next = random(4);
  const input: ArrayBufferView[] = [];
  const expected: Float32Array[] = [];
  for (const type of Object.values(WeightType).filter(byBf16))
    for (const [rows, tokens] of [
      [32, 1],
      [96, 16],
      [160, 61],
    ]) {
      const cols = widthsOf(type).at(-1)!;
      const numbers = (n: number) => Float32Array.from({ length: n }, () => next() - 0.5);
      const parts = [0, 1].map(() => ({ weights: fileWeights(type, rows, cols, next), bias: numbers(rows) }));
      const x = numbers(tokens * cols);
      const head = Int32Array.of(Asked.gated, type, rows, cols, tokens);
      input.push(head, ...parts.map(({ weights }) => weights), ...parts.map(({ bias }) => bias), x);
      const [gate, up] = parts.map(({ weights, bias }) =>
        promptProduct(type, rows, cols, weights, tokens, x)!.map((sum, i) => Math.fround(sum + bias[i % rows])),
      );
      expected.push(toBf16(gate.map((each, i) => Math.fround(Math.max(each, 0) * up[i]))));
    }
  expectAnswer(machine, program, isas, input, expected);
}

const lacking = missing(aarch64);
(lacking ? test.skip : test)(
  'aarch64: the backend compiles, and the products of all its paths have this machine’s bits',
  async () => compare(aarch64, await productsOn(aarch64, files), ['i8mm', 'dotprod', 'generic']),
);
if (lacking) console.log(lacking);

// AVX-VNNI's instruction in the form that AVX-512 has of it, and AMX's, emulated where the processor has none
(hasVnni() && compilesAmx() ? test : test.skip)(
  'dot products in 256 bits, and of tiles, have this machine’s bits',
  async () => {
    const products = files.filter((name) =>
      /cpu\/(arena|elementwise|isas|packed|test_exports|weight_types|matmul_\w+)\.cpp$/.test(name),
    );
    const program = await productsOn(vnni, products);
    compare(vnni, program, ['amx', 'avxvnni', 'avx2']);
    compare(vnni, program, ['amx'], true);
    compareGated(vnni, program, ['amx']);
  },
);

const lackingOther = missing(byOther(own));
(lackingOther || !hasVnni() ? test.skip : test)('the other compiler’s products have this machine’s bits', async () => {
  const machine = byOther(vnni);
  const program = await productsOn(machine, files);
  compare(machine, program, ['amx', 'avx512vnni', 'avxvnni', 'avx2', 'generic']);
  compare(machine, program, ['amx'], true);
  compareGated(machine, program, ['amx']);
});
if (lackingOther) console.log(lackingOther);

(compilesAmx() ? test : test.skip)('the backend has AMX’s own instructions', () => {
  const code = readFileSync(cpuBackend(), 'latin1');
  for (const [name, bytes] of [
    ['ldtilecfg', /\xc4\xe2\x78\x49[\x00-\x07\x40-\x47\x80-\x87]/],
    ['tdpbsud tmm0, tmm4, tmm6', /\xc4\xe2\x4a\x5e\xc4/],
    ['tdpbf16ps tmm0, tmm4, tmm6', /\xc4\xe2\x4a\x5c\xc4/],
    ['tilerelease', /\xc4\xe2\x78\x49\xc0/],
  ] as const)
    assert.ok(bytes.test(code), name);
});

/** One of the engine's own tests with other instruction sets. */
async function under(isa: string, march: string): Promise<void> {
  const env = { ...process.env, SKV_ISA: isa, SKV_MARCH: march, FORCE_COLOR: '0' };
  const child = spawn(process.execPath, ['--import', 'tsx', join(here, 'logits.test.ts')], { env });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const [code] = await once(child, 'close');
  assert.is(code, 0, output);
}

if (process.arch === 'x64')
  for (const [isa, march] of [
    ['avx2', 'x86-64-v3'],
    ['generic', 'x86-64'],
  ])
    if (native().isas(cpuBackend()).includes(isa))
      test(`the forward pass with ${isa} and -march=${march}`, () => under(isa, march));

test.run();
