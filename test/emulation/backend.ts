/** The CUDA backend as a library that runs without a GPU: the same host code and kernels, on test/emulation/device.cpp. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { backendIncludes, backendSources } from '../../runtime/native/cuda.ts';
import { root } from '../../toolchain/folders.mjs';
import { emulated } from './emulate.ts';

export function emulateBackend(): Promise<string> {
  const folders = [...backendIncludes, join(root, 'test', 'emulation')];
  const sources = [...backendSources, join(root, 'test', 'emulation', 'device.cpp')];
  const headers = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /\.(h|hpp|cuh)$/.test(name))
      .map((name) => join(folder, name)),
  );
  const texts = [...sources, ...headers].sort().map((file) => readFileSync(file, 'utf8'));
  return emulated(texts, (draft) => [...folders.map((path) => `-I${path}`), ...sources, '-o', draft]);
}
