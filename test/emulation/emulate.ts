/** A policy's CUDA source as a library that runs without a GPU: compiled as C++ against the emulation, for tests. */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Compiled, compileSource } from '../../codegen/build.ts';
import type { CudaOptions } from '../../codegen/plan/types.ts';
import { run } from '../../toolchain/process.ts';
import { locked } from '../../toolchain/locks.ts';
import { root } from '../../toolchain/folders.mjs';
import { includes } from '../../codegen/back/shared/includes.ts';
import { filesOf } from '../../codegen/hash.ts';

const here = join(root, 'test', 'emulation');
const flags = ['-x', 'c++', '-std=c++17', '-O1', '-march=native', '-ffp-contract=off', '-shared', '-fPIC'];

let headers: string | undefined;

/** Everything a .cu includes here. */
function headerHash(): string {
  if (headers) return headers;
  const hash = createHash('sha256');
  const ours = readdirSync(here).filter((name) => name.endsWith('.hpp'));
  for (const file of [
    ...filesOf('cuda').map((path) => join(root, path)),
    ...ours.sort().map((name) => join(here, name)),
  ])
    hash.update(readFileSync(file));
  headers = hash.digest('hex');
  return headers;
}

const folder = () => process.env.SKV_GENERATED ?? join(root, 'generated');

/** A library that is compiled once for these texts and the headers here; `args` tells the compiler what, for a file. */
export async function emulated(
  texts: readonly string[],
  args: (draft: string) => string[],
  directory = folder(),
): Promise<string> {
  const hash = createHash('sha256').update(headerHash());
  for (const text of texts) hash.update(text);
  const name = hash.digest('hex').slice(0, 16);
  const library = join(directory, `emulated-${name}.so`);
  mkdirSync(directory, { recursive: true });
  if (existsSync(library)) return library;
  await locked(`${library}.lock`, async () => {
    if (existsSync(library)) return;
    const draft = library.replace(/so$/, `${randomUUID().slice(0, 8)}.so`);
    const { code, output } = await run(process.env.CXX ?? 'c++', [...flags, ...args(draft)]);
    if (code !== 0) throw new Error(`the emulation of ${name} does not compile:\n${output}`);
    renameSync(draft, library);
  });
  return library;
}

/** Compiles CUDA text against the emulation; the same text is compiled once and kept in `directory`. */
export function emulateSource(text: string, directory = folder()): Promise<string> {
  return emulated(
    [text],
    (draft) => {
      const source = draft.replace(/\.[^.]*\.so$/, '.cu'); // beside the library: errors name its lines
      writeFileSync(source, text);
      return [...includes, here].map((path) => `-I${path}`).concat(source, '-o', draft);
    },
    directory,
  );
}

/** A policy file's CUDA library for the emulation, with its plan. */
export async function emulate(file: string, options: CudaOptions): Promise<Compiled & { library: string }> {
  const compiled = await compileSource(file, { ...options, target: 'cuda' });
  return { ...compiled, library: await emulateSource(compiled.sources['policy.cu']) };
}
