/**
 * `npm run bundle:gpu [FOLDER]`: everything a GPU machine needs to test and measure the kernels, in one folder to copy.
 * `-- --full` adds the server, and what is asked of it.
 */
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
import { parseArgs } from 'node:util';
import { compileSource, shippedNames } from '../../codegen/build.ts';
import { compileFlags, linkFlags } from '../../toolchain/cuda.ts';
import { root } from '../../toolchain/folders.mjs';
import { everything, pack, packedNode, writeFull } from './full.ts';
import { cases, sourceOf, vector } from './vectors.ts';

const here = dirname(fileURLToPath(import.meta.url));
/** Bytes of a bundle, and of one that is full, which is packed: 64 MiB go over at a time. */
export const [MOST, MOST_FULL] = [48 * 2 ** 20, 60 * 2 ** 20];

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
  return checkSize(folder, MOST);
}

/** Its bytes; throws when it is too large to go over. */
export function checkSize(folder: string, most: number): number {
  const size = sizeOf(folder);
  if (size > most) throw new Error(`The bundle has ${size} bytes, more than ${most}.`);
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
  const { values, positionals } = parseArgs({ options: { full: { type: 'boolean' } }, allowPositionals: true });
  const folder = resolve(positionals[0] ?? join(root, 'generated', 'bundle-gpu'));
  if (positionals[0] === undefined) rmSync(folder, { recursive: true, force: true });
  let size = await writeBundle(folder, shippedPolicies);
  if (values.full) {
    await writeFull(folder, everything(shippedPolicies));
    for (const name of ['vectors', 'skv']) pack(folder, name);
    copyFileSync(packedNode(), join(folder, 'node.xz'));
    size = checkSize(folder, MOST_FULL);
  }
  const then = `./gpu.sh bench; ./gpu.sh test${values.full ? '; ./gpu.sh serve-check; ./gpu.sh bench-serve' : ''}`;
  console.log(`${folder}: ${(size / 2 ** 20).toFixed(1)} MiB. Copy it to a GPU machine, then: ${then}`);
}
