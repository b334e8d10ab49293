/**
 * Every shipped policy compiles for sm_80 and sm_90 with NVIDIA's wheels, without a spill, and each kernel needs what its
 * golden says. Libraries are kept in the build cache: an unchanged tree compiles nothing. UPDATE=1 rewrites the goldens.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BuildOptions, build, shipped } from '../../codegen/build.ts';
import { type KernelUsage, usageOf } from '../../codegen/back/cuda/usage.ts';
import { installWheels } from '../../toolchain/wheels.ts';
import { native } from '../../runtime/native/index.ts';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));
const golden = join(here, 'golden');
const cuda: BuildOptions = { target: 'cuda', cudaPath: await installWheels(), archs: [80, 90] };
const names = readdirSync(join(root, 'policies')).map((file) => file.replace(/\.ts$/, ''));
/** The default head sizes for every policy; the other ones for the policy with the most kernels. */
const builds = [
  ...names.map((name) => ({ name, policy: name, options: cuda })),
  { name: 'h2o-80-96-256', policy: 'h2o', options: { ...cuda, headDims: [80, 96, 256] } },
];

/** Two compilers at a time. */
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

const text = (usage: readonly KernelUsage[]): string =>
  ['kernel\tarch\tthreads\tregisters\tshared\tstack']
    .concat(
      usage.map(({ kernel, arch, threads, registers, shared, stack }) =>
        [kernel, `sm_${arch}`, threads, registers, shared, stack].join('\t'),
      ),
    )
    .join('\n')
    .concat('\n');

mkdirSync(golden, { recursive: true });

builds.forEach(({ name }, i) =>
  test(`${name}: no spills, and the registers, shared memory and stack of its golden`, async () => {
    const { usage } = await libraries[i];
    assert.ok(usage.some(({ kernel, arch }) => kernel.startsWith('decode_kernel') && arch === 80));
    for (const { kernel, arch, spillStores, spillLoads, threads, registers } of usage) {
      assert.is(spillStores + spillLoads, 0, `${kernel} on sm_${arch} spills`);
      assert.ok(threads >= 32 && registers > 0, `${kernel}: launches.hpp does not tell how it is launched`);
    }
    const file = join(golden, `${name}.usage.tsv`);
    if (process.env.UPDATE === '1') writeFileSync(file, text(usage));
    assert.fixture(text(usage), readFileSync(file, 'utf8'), `${name} (UPDATE=1 accepts the change)`);
  }),
);

test('no golden without a build', () => {
  assert.equal(
    readdirSync(golden).filter((file) => !builds.some(({ name }) => file === `${name}.usage.tsv`)),
    [],
  );
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
