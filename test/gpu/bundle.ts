/** `npm run bundle:gpu [FOLDER]`: everything a GPU machine needs to test and measure the kernels, in one folder to copy. */
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileSource, shippedNames } from '../../codegen/build.ts';
import { compileFlags, linkFlags } from '../../toolchain/cuda.ts';
import { root } from '../../toolchain/folders.mjs';
import { cases, sourceOf, vector } from './vectors.ts';

const here = dirname(fileURLToPath(import.meta.url));
export const MOST = 48 * 2 ** 20;

/** Writes the bundle of these policies into a new or empty folder; returns its bytes. */
export async function writeBundle(folder: string, policies: readonly string[]): Promise<number> {
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new Error(`${folder} is not empty; name a new folder.`);
  for (const name of ['policies', 'attention', 'contract', 'vectors'])
    mkdirSync(join(folder, name), { recursive: true });
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
  writeFileSync(join(folder, 'compile-flags'), `${compileFlags.join(' ').replace(',-Werror', '')} -lineinfo\n`);
  writeFileSync(join(folder, 'link-flags'), `${linkFlags.join(' ')}\n`);
  for (const name of policies) {
    const own = cases().filter(({ policy }) => policy === name);
    const { sources, plan } = await compileSource(sourceOf(name), {
      target: 'cuda',
      headDims: [...new Set(own.map(({ shape }) => shape.headDim))],
      kvTypes: [...new Set(own.map(({ kv }) => kv))],
    });
    mkdirSync(join(folder, 'policies', name));
    const attention = createHash('sha256').update(sources['attention.cu']).digest('hex').slice(0, 8);
    writeFileSync(join(folder, 'attention', `${attention}.cu`), sources['attention.cu']);
    const files = { 'policy.cu': sources['policy.cu'], attention, 'plan.json': `${JSON.stringify(plan, null, 2)}\n` };
    for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, 'policies', name, file), text);
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

/** A policy's CUDA text in a bundle. */
export function sourcesIn(folder: string, policy: string): Record<string, string> {
  const own = join(folder, 'policies', policy);
  const attention = readFileSync(join(own, 'attention'), 'utf8');
  return {
    'policy.cu': readFileSync(join(own, 'policy.cu'), 'utf8'),
    'attention.cu': readFileSync(join(folder, 'attention', `${attention}.cu`), 'utf8'),
  };
}

export const shippedPolicies = shippedNames();

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = resolve(process.argv[2] ?? join(root, 'generated', 'bundle-gpu'));
  if (process.argv[2] === undefined) rmSync(folder, { recursive: true, force: true });
  const size = await writeBundle(folder, shippedPolicies);
  console.log(
    `${folder}: ${(size / 2 ** 20).toFixed(1)} MiB. Copy it to a GPU machine, then: ./gpu.sh bench; ./gpu.sh test`,
  );
}
