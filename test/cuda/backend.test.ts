/**
 * The CUDA backend by NVIDIA's wheels: it compiles without a spill, each kernel needs what its golden says, and where there
 * is no device it says so.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readUsage } from '../../codegen/back/cuda/usage.ts';
import { build, shipped } from '../../codegen/build.ts';
import { buildCudaBackend } from '../../runtime/native/cuda.ts';
import { devices } from '../../toolchain/cuda.ts';
import { root } from '../../toolchain/folders.mjs';
import { installWheels } from '../../toolchain/wheels.ts';
import { smallEngine } from '../engine/small.ts';
import { tinyModel } from '../oracle/tiny.ts';

const { library, ptxas } = await buildCudaBackend({ cudaPath: await installWheels(), archs: [80, 90] });

test('no spills, and the registers and stack of its golden', () => {
  const usage = readUsage(ptxas);
  assert.ok(usage.length > 10, 'kernels for both architectures');
  for (const { kernel, spillStores, spillLoads } of usage) assert.is(spillStores + spillLoads, 0, `${kernel} spills`);
  const rows = usage.map(({ kernel, arch, registers, stack }) => [kernel, `sm_${arch}`, registers, stack].join('\t'));
  const text = `${['kernel\tarch\tregisters\tstack', ...rows].join('\n')}\n`;
  const golden = join(root, 'test', 'cuda', 'golden', 'backend.tsv');
  if (process.env.UPDATE === '1') writeFileSync(golden, text);
  assert.fixture(text, readFileSync(golden, 'utf8'), 'UPDATE=1 accepts the change');
});

if (devices().length === 0)
  test('without a device it says so, and what to do', async () => {
    const model = tinyModel(1);
    const policies = [await build(shipped('none')!)];
    await smallEngine(model, { backend: library, policies })
      .then(
        () => assert.unreachable('it opens'),
        ({ message }: Error) =>
          assert.match(message, /there is no CUDA device here .*install a driver .* or serve with the CPU/),
      )
      .finally(() => model.remove());
  });

test.run();
