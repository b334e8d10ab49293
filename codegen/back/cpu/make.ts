/** One run of CMake with templates/cpu/CMakeLists.txt: a folder → the library that it makes there. */
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { missingTool } from '../../../toolchain/compilers.ts';
import { DiskFullError, type Finished, isFull, run } from '../../../toolchain/process.ts';
import { includes, templates } from '../shared/includes.ts';

/** What CMakeLists.txt asks for beside the includes. */
export interface Definitions {
  SKV_MARCH: string;
  SKV_KERNELS?: string;
  SKV_SOURCES?: string;
}

const project = (folder: string) => join(folder, 'build', 'CMakeCache.txt');

/** Writes CMake's project of a folder, by cmake-js; a policy's source may come later. One that fails leaves none. */
export async function configured(folder: string, definitions: Definitions): Promise<Finished> {
  copyFileSync(join(templates, 'cpu', 'CMakeLists.txt'), join(folder, 'CMakeLists.txt'));
  // cmake-js looks here for the Node-API version; with one it needs no download of headers
  writeFileSync(join(folder, 'package.json'), '{"name":"policy","version":"0.0.0","binary":{"napi_versions":[8]}}\n');
  const args = [
    createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js'),
    ...['configure', '--directory', folder, '--out', join(folder, 'build')],
    ...Object.entries({ SKV_INCLUDES: includes.join(';'), ...definitions }).map(([name, to]) => `--CD${name}=${to}`),
  ];
  const finished = await run(process.execPath, args, { cwd: folder });
  if (finished.code !== 0) rmSync(project(folder), { force: true });
  return finished;
}

/**
 * Makes `library` in a folder, configured or not, and returns its path. `failed` makes an error of what the compiler said;
 * `why` is known when the machine is to blame. Nothing but the library is left behind.
 */
export async function made(
  folder: string,
  library: string,
  definitions: Definitions,
  failed: (output: string, why: string | undefined) => Error,
): Promise<string> {
  let { code, output } = existsSync(project(folder)) ? { code: 0, output: '' } : await configured(folder, definitions);
  // what cmake-js would start now, without starting Node for it
  const build = ['--build', join(folder, 'build'), '--parallel', '2'];
  if (code === 0) ({ code, output } = await run('cmake', build, { cwd: folder }));
  const [built, to] = [join(folder, 'build', library), join(folder, library)];
  if (code !== 0 || !existsSync(built)) {
    if (isFull(output, folder)) throw new DiskFullError(dirname(folder));
    throw failed(output, missingTool() ?? unknownMachine(output, definitions.SKV_MARCH));
  }
  copyFileSync(built, to);
  for (const rest of ['build', 'package.json', 'CMakeLists.txt'])
    rmSync(join(folder, rest), { recursive: true, force: true });
  return to;
}

const unknownMachine = (output: string, march: string): string | undefined =>
  /(bad value|unknown target CPU|unsupported argument).*march|march.*(bad value|unsupported argument)/.test(output)
    ? `The C++ compiler knows no architecture ${march}. Set SKV_MARCH to one that it has (x86-64-v3, native …), or unset it.`
    : undefined;
