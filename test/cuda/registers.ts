/**
 * Every shipped policy compiles with NVIDIA's wheels, without a spill, and each kernel needs what its golden says; a test
 * file an architecture, since each takes minutes. Libraries are kept in the build cache: an unchanged tree compiles
 * nothing. UPDATE=1 rewrites the goldens.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BuildOptions, build, shipped, shippedNames } from '../../codegen/build.ts';
import { type KernelUsage, usageOf } from '../../codegen/back/cuda/usage.ts';
import { installWheels } from '../../toolchain/wheels.ts';

const here = dirname(fileURLToPath(import.meta.url));
const names = shippedNames();

const text = (usage: readonly KernelUsage[]): string =>
  ['kernel\tthreads\tregisters\tshared\tstack']
    .concat(
      usage.map(({ kernel, threads, registers, shared, stack }) =>
        [kernel, threads, registers, shared, stack].join('\t'),
      ),
    )
    .join('\n')
    .concat('\n');

/** Tests of an architecture, such as 90; returns the library of the first policy, when it is there. */
export async function testRegisters(arch: number): Promise<() => Promise<string>> {
  const golden = join(here, 'golden', `sm_${arch}`);
  const cuda: BuildOptions = { target: 'cuda', cudaPath: await installWheels(), archs: [arch] };
  // the default head sizes for every policy; the other ones for the policy with the most kernels
  const builds = [
    ...names.map((name) => ({ name, policy: name, options: cuda })),
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
  mkdirSync(golden, { recursive: true });
  builds.forEach(({ name }, i) =>
    test(`${name}: no spills, and the registers, shared memory and stack of its golden`, async () => {
      const { usage } = await libraries[i];
      assert.ok(usage.some(({ kernel }) => kernel.startsWith('decode_kernel')));
      for (const { kernel, arch: compiled, spillStores, spillLoads, threads, registers } of usage) {
        assert.is(compiled, arch);
        assert.is(spillStores + spillLoads, 0, `${kernel} spills`);
        assert.ok(threads >= 32 && registers > 0, `${kernel}: launches.hpp does not tell how it is launched`);
      }
      const file = join(golden, `${name}.tsv`);
      if (process.env.UPDATE === '1') writeFileSync(file, text(usage));
      assert.fixture(text(usage), readFileSync(file, 'utf8'), `${name} (UPDATE=1 accepts the change)`);
    }),
  );
  test('no golden without a build', () => {
    assert.equal(
      readdirSync(golden).filter((file) => !builds.some(({ name }) => file === `${name}.tsv`)),
      [],
    );
  });
  return async () => (await libraries[0]).library;
}
