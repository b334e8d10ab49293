/** `npm run bundle:gpu [FOLDER]`: everything a GPU machine needs to test and measure the kernels, in one folder to copy. */
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileSource, shippedNames } from '../../codegen/build.ts';
import { nvccFlags } from '../../toolchain/cuda.ts';
import { root } from '../../toolchain/folders.mjs';
import { cases, sourceOf, vector } from './vectors.ts';

const here = dirname(fileURLToPath(import.meta.url));
export const MOST = 40 * 2 ** 20;

/** Writes the bundle of these policies into a new or empty folder; returns its bytes. */
export async function writeBundle(folder: string, policies: readonly string[]): Promise<number> {
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new Error(`${folder} is not empty; name a new folder.`);
  for (const name of ['policies', 'contract', 'vectors']) mkdirSync(join(folder, name), { recursive: true });
  cpSync(join(here, 'bundle'), folder, { recursive: true });
  cpSync(join(here, 'driver'), join(folder, 'driver'), { recursive: true });
  copyFileSync(join(root, 'test', 'kernels', 'problem.h'), join(folder, 'driver', 'problem.h'));
  for (const name of ['abi.h', 'layout.h', 'records.h'])
    copyFileSync(join(root, 'runtime', 'contract', name), join(folder, 'contract', name));
  cpSync(join(root, 'templates'), join(folder, 'templates'), {
    recursive: true,
    filter: (path) => statSync(path).isDirectory() || /\.(cuh|hpp|h)$/.test(path),
  });
  rmSync(join(folder, 'templates', 'cpu'), { recursive: true });
  // another nvcc may spill where ours does not: there it is a warning; lines are for compute-sanitizer's reports
  writeFileSync(join(folder, 'flags'), `${nvccFlags.join(' ').replace(',-Werror', '')} -lineinfo\n`);
  for (const name of policies) {
    const own = cases().filter(({ policy }) => policy === name);
    const { sources, plan } = await compileSource(sourceOf(name), {
      target: 'cuda',
      headDims: [...new Set(own.map(({ shape }) => shape.headDim))],
      kvTypes: [...new Set(own.map(({ kv }) => kv))],
    });
    mkdirSync(join(folder, 'policies', name));
    for (const [file, text] of Object.entries(sources)) writeFileSync(join(folder, 'policies', name, file), text);
    writeFileSync(join(folder, 'policies', name, 'plan.json'), `${JSON.stringify(plan, null, 2)}\n`);
    for (const each of own) {
      const { name: file, bytes } = await vector(each);
      writeFileSync(join(folder, 'vectors', `${file}.vec`), bytes);
    }
  }
  const size = sizeOf(folder);
  if (size > MOST) throw new Error(`The bundle has ${size} bytes, more than ${MOST}.`);
  return size;
}

const sizeOf = (folder: string): number =>
  (readdirSync(folder, { recursive: true }) as string[])
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, info) => sum + (info.isFile() ? info.size : 0), 0);

export const shippedPolicies = shippedNames();

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = resolve(process.argv[2] ?? join(root, 'generated', 'bundle-gpu'));
  if (process.argv[2] === undefined) rmSync(folder, { recursive: true, force: true });
  const size = await writeBundle(folder, shippedPolicies);
  console.log(
    `${folder}: ${(size / 2 ** 20).toFixed(1)} MiB. Copy it to a GPU machine, then: ./gpu.sh bench; ./gpu.sh test`,
  );
}
