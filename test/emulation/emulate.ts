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
const flags = ['-std=c++17', '-O1', '-march=native', '-ffp-contract=off', '-fPIC'];

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

/**
 * A library, or an object for one, that is compiled once for these texts and the headers here; `args` tells the compiler what,
 * for a file.
 */
export async function emulated(
  texts: readonly string[],
  args: (draft: string) => string[],
  { directory = folder(), end = 'so' }: { directory?: string; end?: 'so' | 'o' } = {},
): Promise<string> {
  const hash = createHash('sha256').update(headerHash());
  for (const text of texts) hash.update(text);
  const name = hash.digest('hex').slice(0, 16);
  const made = join(directory, `emulated-${name}.${end}`);
  mkdirSync(directory, { recursive: true });
  if (existsSync(made)) return made;
  await locked(`${made}.lock`, async () => {
    if (existsSync(made)) return;
    const draft = join(directory, `emulated-${name}.${randomUUID().slice(0, 8)}.${end}`);
    const kind = end === 'so' ? '-shared' : '-c';
    const { code, output } = await run(process.env.CXX ?? 'c++', [...flags, kind, ...args(draft)]);
    if (code !== 0) throw new Error(`the emulation of ${name} does not compile:\n${output}`);
    renameSync(draft, made);
  });
  return made;
}

/** CUDA text for the compiler, in a file beside what is made of it: errors name its lines. */
function textFile(text: string, draft: string): string[] {
  const source = draft.replace(/\.[^.]*\.s?o$/, '.cu');
  writeFileSync(source, text);
  return [...includes, here].map((path) => `-I${path}`).concat('-x', 'c++', source, '-x', 'none', '-o', draft);
}

/** Compiles a policy's CUDA text against the emulation; the same text is compiled once and kept in `directory`. */
export function emulateSource(text: string, directory = folder(), objects: readonly string[] = []): Promise<string> {
  return emulated([text, ...objects], (draft) => [...textFile(text, draft), ...objects], { directory });
}

/** The same with the text of attention, which many policies share. */
export async function emulateSources(sources: Readonly<Record<string, string>>, directory = folder()): Promise<string> {
  const attention = sources['attention.cu'];
  const object = await emulated([attention], (draft) => textFile(attention, draft), { directory, end: 'o' });
  return emulateSource(sources['policy.cu'], directory, [object]);
}

/** A policy file's CUDA library for the emulation, with its plan. */
export async function emulate(file: string, options: CudaOptions): Promise<Compiled & { library: string }> {
  const compiled = await compileSource(file, { ...options, target: 'cuda' });
  return { ...compiled, library: await emulateSources(compiled.sources) };
}
