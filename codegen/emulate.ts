/** A policy's CUDA source as a library that runs without a GPU: compiled as C++ against the emulation, for tests. */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Compiled, compileSource } from './build.ts';
import type { CudaOptions } from './plan-types.ts';
import { run } from './process.ts';
import { locked } from './toolchain.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const templates = join(root, 'templates');
const flags = ['-x', 'c++', '-std=c++17', '-O1', '-march=native', '-ffp-contract=off', '-shared', '-fPIC'];

let headers: string | undefined;

/** Everything a .cu includes. */
function headerHash(): string {
  if (headers) return headers;
  const hash = createHash('sha256').update(readFileSync(join(root, 'runtime', 'native', 'abi.h')));
  const files = readdirSync(templates, { recursive: true }) as string[];
  for (const file of files.filter((name) => /\.(cuh|hpp)$/.test(name)).sort())
    hash.update(readFileSync(join(templates, file)));
  headers = hash.digest('hex');
  return headers;
}

/** Compiles CUDA text against the emulation; the same text is compiled once and kept in the build cache. */
export async function emulateSource(text: string, define: readonly string[] = []): Promise<string> {
  const directory = process.env.SKV_GENERATED ?? join(root, 'generated');
  const name = createHash('sha256')
    .update(headerHash())
    .update(define.join(' '))
    .update(text)
    .digest('hex')
    .slice(0, 16);
  const library = join(directory, `emulated-${name}.so`);
  mkdirSync(directory, { recursive: true });
  if (existsSync(library)) return library;
  await locked(`${library}.lock`, async () => {
    if (existsSync(library)) return;
    const draft = `${library}.${randomUUID().slice(0, 8)}`;
    writeFileSync(`${draft}.cu`, text);
    const includes = [`-I${templates}`, `-I${join(root, 'runtime', 'native')}`];
    const args = [...flags, ...define, ...includes, `${draft}.cu`, '-o', `${draft}.so`];
    const { code, output } = await run(process.env.CXX ?? 'c++', args);
    if (code !== 0) throw new Error(`the emulation of ${name} does not compile:\n${output}`);
    renameSync(`${draft}.cu`, library.replace(/so$/, 'cu'));
    renameSync(`${draft}.so`, library);
  });
  return library;
}

/** A policy file's CUDA library for the emulation, with its plan. */
export async function emulate(file: string, options: CudaOptions): Promise<Compiled & { library: string }> {
  const compiled = await compileSource(file, { ...options, target: 'cuda' });
  return { ...compiled, library: await emulateSource(compiled.sources['policy.cu']) };
}
