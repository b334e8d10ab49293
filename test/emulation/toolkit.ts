/**
 * A toolkit, a driver and a cuBLASLt that need no GPU, where the real ones are looked for: commands and builds run as they
 * are, on the emulation, and fail as a test wishes (wishes.hpp).
 */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../toolchain/folders.mjs';
import { emulated } from './emulate.ts';

const here = join(root, 'test', 'emulation');
const source = (name: string): string => join(here, 'toolkit', name);

const libraryOf = (name: string): Promise<string> =>
  emulated([readFileSync(source(name), 'utf8')], (draft) => [`-I${here}`, source(name), '-o', draft]);

/** Environment of a process that finds them. `driver`: the folder of libcuda.so.1, for LD_LIBRARY_PATH. */
export async function emulatedMachine(folder: string): Promise<Record<string, string>> {
  const [driver, cublaslt] = await Promise.all(['libcuda.cpp', 'cublaslt.cpp'].map(libraryOf));
  const toolkit = join(folder, 'toolkit');
  const libraries = join(folder, 'driver');
  for (const each of [join(toolkit, 'bin'), join(toolkit, 'lib'), libraries]) mkdirSync(each, { recursive: true });
  const nvcc = join(toolkit, 'bin', 'nvcc');
  writeFileSync(nvcc, `#!/bin/sh\nexec '${process.execPath}' '${source('nvcc.mjs')}' "$@"\n`);
  chmodSync(nvcc, 0o755);
  writeFileSync(join(toolkit, 'lib', 'libcudart_static.a'), '');
  writeFileSync(join(libraries, 'libcuda.so.1'), readFileSync(driver));
  return { CUDA_PATH: toolkit, LD_LIBRARY_PATH: libraries, SKV_CUBLASLT: cublaslt };
}
