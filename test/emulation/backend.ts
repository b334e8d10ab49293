/** The CUDA backend as a library that runs without a GPU: the same host code and kernels, on test/emulation/device.cpp. */
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { backendIncludes, backendSources } from '../../runtime/native/cuda.ts';
import { root } from '../../toolchain/folders.mjs';
import { run } from '../../toolchain/process.ts';
import { shipped } from '../../codegen/build.ts';
import type { KvName } from '../../runtime/contract/records.ts';
import type { EngineOptions } from '../../runtime/engine/types.ts';
import { emulate, emulated } from './emulate.ts';

/** Path of the library. */
export function emulateBackend(): Promise<string> {
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

/** A program beside the emulated backend, whose parts it calls, and beside the CPU's sampler; gives what runs it. */
export async function backendProgram(source: string, folder: string) {
  const library = await emulateBackend();
  const binary = join(folder, 'program');
  const cpu = ['sampler', 'elementwise'].map((name) => join(root, 'runtime', 'native', 'cpu', `${name}.cpp`));
  const flags = ['-std=c++17', '-O1', '-march=native', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math'];
  const searched = backendIncludes.map((path) => `-I${path}`);
  const files = [join(root, source), ...cpu, library, `-Wl,-rpath,${dirname(library)}`];
  const compiled = await run(process.env.CXX ?? 'c++', [...flags, ...searched, ...files, '-o', binary]);
  if (compiled.code !== 0) throw new Error(`${source} does not compile:\n${compiled.output}`);
  return (args: readonly string[], env: NodeJS.ProcessEnv): string => {
    const { status, stdout, stderr } = spawnSync(binary, args, { encoding: 'utf8', env: { ...process.env, ...env } });
    if (status !== 0) throw new Error(`${args.join(' ')} ends with ${status}: ${stderr}`);
    if (stderr) throw new Error(stderr);
    return stdout;
  };
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
