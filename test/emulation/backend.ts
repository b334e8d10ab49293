/** The CUDA backend as a library that runs without a GPU: the same host code and kernels, on test/emulation/device.cpp. */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { backendIncludes, backendSources } from '../../runtime/native/cuda.ts';
import { root } from '../../toolchain/folders.mjs';
import { shipped } from '../../codegen/build.ts';
import type { KvName } from '../../runtime/contract/records.ts';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { emulate, emulated } from './emulate.ts';

function emulateBackend(): Promise<string> {
  const folders = [...backendIncludes, join(root, 'test', 'emulation')];
  const sources = [...backendSources, join(root, 'test', 'emulation', 'device.cpp')];
  const headers = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /\.(h|hpp|cuh)$/.test(name))
      .map((name) => join(folder, name)),
  );
  const texts = [...sources, ...headers].sort().map((file) => readFileSync(file, 'utf8'));
  return emulated(texts, (draft) => [...folders.map((path) => `-I${path}`), ...['-x', 'c++', ...sources, '-o', draft]]);
}

/**
 * What an engine needs to run these shipped policies on the emulated device, for heads of 64 numbers. The device is the
 * process's: of two such engines one steps at a time.
 */
export async function emulatedDevice(
  names: readonly string[],
  kvType: KvName,
): Promise<Pick<EngineOptions, 'backend' | 'policies'>> {
  const policies: EngineOptions['policies'] = [];
  for (const name of names) {
    const { plan, library } = await emulate(shipped(name)!, { headDims: [64], kvTypes: [kvType] });
    policies.push({ plan, library, directory: dirname(library) });
  }
  return { backend: await emulateBackend(), policies };
}
