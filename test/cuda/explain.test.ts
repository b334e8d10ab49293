/** What the commands tell of the CUDA target: passes by token, kernels with their occupancy, and what is missing. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { occupancy } from '../../codegen/back/cuda/occupancy.ts';
import { installWheels, wheelFolder } from '../../toolchain/wheels.ts';
import type { KernelReport } from '../../cli/kernels.ts';
import { skv } from '../cli/skv.ts';

const wheels = await installWheels();
const rest = ['--arch', '80,90', '--cuda-path', wheels];
const cuda = ['--target', 'cuda', ...rest];

test('explain: bytes and FLOPs by token, and each kernel’s registers, shared memory and occupancy', async () => {
  const { code, out, err } = await skv('explain', 'h2o', ...cuda, '--json');
  assert.is(code, 0, err);
  const { costs, kernels, shape, size } = JSON.parse(out);
  const attend = costs.find((each: { name: string }) => each.name === 'attend');
  const heads = shape.layers * shape.kvHeads;
  assert.equal(attend.total, {
    bytes: size.steady * heads * (2 * shape.d * shape.b + 4 * shape.g),
    flops: size.steady * heads * 4 * shape.d * shape.g,
  });
  for (const name of ['append', 'decode', 'accumulate', 'prefill', 'observe', 'compact'])
    for (const arch of [80, 90])
      assert.ok(
        kernels.some(
          (each: KernelReport) =>
            each.arch === arch && new RegExp(`^${name}_kernel<(Policy|Attention), Bf16, 64`).test(each.kernel),
        ),
        `${name} on sm_${arch}`,
      );
  for (const kernel of kernels as KernelReport[]) {
    assert.ok(kernel.occupancy!.blocks >= 1, `${kernel.kernel} fits sm_${kernel.arch}`);
    assert.equal(kernel.occupancy, occupancy(kernel.arch, kernel));
  }
  const text = (await skv('explain', 'h2o', ...cuda)).out;
  assert.match(text, /attend[\s\S]*MB, [\d.]+ MFLOP a generated token: 512 slots in every head/);
  assert.match(
    text,
    /decode_kernel<Attention, Bf16, 64, 1> +sm_90 +128 +\d+ +\d+ +0 +0 {2}\d+ blocks, \d+ warps \(\d+ %\), /,
  );
});

test('explain without a compiler shows the passes and says what to run', async () => {
  const { code, out } = await skv('explain', 'knorm', '--target', 'cuda', '--cuda-path', '/nowhere');
  assert.is(code, 0);
  assert.match(out, /kernels\n {2}--cuda-path \/nowhere is no CUDA toolkit:\n[\s\S]*skv doctor --install-cuda/);
  assert.match(
    (await skv('explain', 'knorm', '--target', 'cuda', '--source', '--head-dim', '96')).out,
    /Variant<Bf16, 96>/,
  );
});

test('build: the same, as a table with what ptxas took; both targets in one call', async () => {
  const { code, out, err } = await skv('build', 'h2o', '--target', 'cpu,cuda', ...rest, '--report');
  assert.is(code, 0, err);
  assert.match(out, /^h2o {2}cpu {2}.*policy\.so/m);
  assert.match(out, /^h2o {2}cuda {2}.*policy\.so {2}[\d.]+ MiB/m);
  assert.match(out, /kernel +arch +threads +registers +shared B +stack B +spilled B +on a multiprocessor +ptxas ms/);
});

test('doctor: what was found, or the command that installs it', async () => {
  const found = JSON.parse((await skv('doctor', '--cuda-path', wheels, '--json')).out);
  assert.is(found['CUDA compiler'].found, `nvcc 13.0.88 in ${wheels}/nvidia/cu13 (--cuda-path)`);
  assert.ok('NVIDIA GPU' in found);
  const wrong = JSON.parse((await skv('doctor', '--cuda-path', '/nowhere', '--json')).out);
  assert.match(wrong['CUDA compiler'].fix, /\/nowhere\/bin\/nvcc does not exist/);
  assert.is((await skv('doctor', '--install-cuda')).code, 0, 'is there already');
  assert.ok(readFileSync(`${wheelFolder()}/nvidia/cu13/bin/nvcc.profile`).length > 0);
});

test.run();
