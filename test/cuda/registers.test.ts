/**
 * Every shipped policy compiles with NVIDIA's wheels, without a spill, and each kernel needs of an A100's and an H100's
 * multiprocessor what its golden says. A build has both architectures: the host's part of the text is compiled once.
 * Libraries are kept in the build cache: an unchanged tree compiles nothing. UPDATE=1 rewrites the goldens.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BuildOptions, build, shipped, shippedNames } from '../../codegen/build.ts';
import { type KernelUsage, usageOf } from '../../codegen/back/cuda/usage.ts';
import { native } from '../../runtime/native/index.ts';
import { root } from '../../toolchain/folders.mjs';
import { installWheels } from '../../toolchain/wheels.ts';

const text = (usage: readonly KernelUsage[]): string =>
  ['kernel\tthreads\tregisters\tshared\tstack']
    .concat(
      usage.map(({ kernel, threads, registers, shared, stack }) =>
        [kernel, threads, registers, shared, stack].join('\t'),
      ),
    )
    .join('\n')
    .concat('\n');

const archs = [80, 90];
const golden = (arch: number): string => join(root, 'test', 'cuda', 'golden', `sm_${arch}`);
const cuda: BuildOptions = { target: 'cuda', cudaPath: await installWheels(), archs };
// the default head sizes for every policy; the other ones for the policy with the most kernels
const builds = [
  ...shippedNames().map((name) => ({ name, policy: name, options: cuda })),
  { name: 'h2o-80-96-256', policy: 'h2o', options: { ...cuda, headDims: [80, 96, 256] } },
];

// two compilers at a time
const libraries: Promise<{ library: string; usage: KernelUsage[] }>[] = [];
builds.forEach(({ policy, options }, i) =>
  libraries.push(
    Promise.allSettled([libraries[i - 2]]).then(async () => {
      const { library, directory } = await build(shipped(policy)!, options);
      return { library, usage: usageOf(directory)! };
    }),
  ),
);
for (const library of libraries) library.catch(() => undefined); // told by its own test

for (const arch of archs) {
  mkdirSync(golden(arch), { recursive: true });
  builds.forEach(({ name }, i) =>
    test(`${name} on sm_${arch}: no spills, and the registers, shared memory and stack of its golden`, async () => {
      const usage = (await libraries[i]).usage.filter((each) => each.arch === arch);
      assert.ok(usage.some(({ kernel }) => kernel.startsWith('decode_kernel')));
      for (const { kernel, spillStores, spillLoads, threads, registers } of usage) {
        assert.is(spillStores + spillLoads, 0, `${kernel} spills`);
        assert.ok(threads >= 32 && registers > 0, `${kernel}: launches.hpp does not tell how it is launched`);
      }
      const file = join(golden(arch), `${name}.tsv`);
      if (process.env.UPDATE === '1') writeFileSync(file, text(usage));
      assert.fixture(text(usage), readFileSync(file, 'utf8'), `${name} (UPDATE=1 accepts the change)`);
    }),
  );
  test(`sm_${arch}: no golden without a build`, () => {
    assert.equal(
      readdirSync(golden(arch)).filter((file) => !builds.some(({ name }) => file === `${name}.tsv`)),
      [],
    );
  });
}

test('a build is for the architectures that were asked for, and no other', async () => {
  for (const { usage } of await Promise.all(libraries))
    assert.equal([...new Set(usage.map(({ arch }) => arch))].sort(), archs);
});

test('a CUDA library is opened here, and refused by the CPU engine in words', async () => {
  const { library } = await libraries[0];
  const probe = { slots: 1, headDim: 64, layer: 0, layers: 1, head: 0, heads: 1, length: 1, queryPos: 1 };
  const [states, scores] = [new Float32Array(1), new Float32Array(1)];
  assert.throws(
    () => native().probeScore(library, { ...probe, params: new Float32Array(16), states, scores } as never),
    /was built for the target cuda; this engine runs cpu: build the policy with --target cpu/,
  );
});

test.run();
