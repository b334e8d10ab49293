/** What nvcc's launches.hpp program says of threads and shared memory is what library.cuh launches, one by one, in the emulation. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { shipped } from '../../codegen/build.ts';
import { emulate } from '../emulation/emulate.ts';
import { launches } from '../../codegen/back/cuda/object.ts';
import { findCuda } from '../../toolchain/cuda.ts';
import { installWheels } from '../../toolchain/wheels.ts';
import { type Shape, problem, solve } from '../kernels/driver.ts';
import { script } from '../gpu/script.ts';

process.env.SKV_EMULATED_LAUNCHES = '1'; // the emulation tells them
const wheels = await installWheels();
const folder = mkdtempSync(join(tmpdir(), 'skv-launches-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

const shape = (headDim: number, group: number): Shape => ({
  kvType: 'bf16',
  layers: 1,
  kvHeads: 1,
  group,
  headDim,
  maxTokens: 40,
  maxSlots: 64,
  interleaved: false,
  seqs: 1,
  invFreq: new Float32Array(headDim / 2),
});

for (const [policy, headDim, params] of [
  ['h2o', 64, { budget: 20, recent: 8 }],
  ['keydiff', 80, { budget: 30 }],
] as const)
  test(`${policy}: threads and shared memory of every kernel that runs`, async () => {
    const { sources, plan, library } = await emulate(shipped(policy)!, { headDims: [headDim], kvTypes: ['bf16'] });
    const told = new Set<string>();
    for (const [source, text] of Object.entries(sources)) {
      writeFileSync(join(folder, source), text);
      const { code, output } = await launches(findCuda(wheels), folder, source);
      assert.is(code, 0, output);
      for (const line of output.trim().split('\n')) told.add(line.replace(/<.*>/, ''));
    }
    const same = { stored: (x: number) => x, query: (x: number) => x };
    const seen = new Set<string>();
    for (const group of [4, 9]) {
      const ops = script(
        plan,
        params,
        shape(headDim, group),
        [{ start: 0, prompt: 40, chunk: 40, decode: 2 }],
        1,
        same,
      );
      for (const line of solve(library, problem(shape(headDim, group), ops))
        .report.trim()
        .split('\n'))
        seen.add(line.replace(/^\(?(\w+_kernel)[^\t]*/, '$1'));
    }
    for (const line of seen) assert.ok(told.has(line), `${line}, of ${[...told].join('; ')}`);
    for (const kernel of plan.cuda!.kernels)
      assert.ok(
        [...seen].some((line) => line.startsWith(`${kernel.name}_kernel\t${kernel.threads}\t`)),
        `${kernel.name}: ${[...seen].join('; ')}`,
      );
    assert.is(
      [...seen].filter((line) => line.startsWith('decode_kernel')).length,
      2,
      'one for groups up to eight, one for larger ones',
    );
  });

test.run();
