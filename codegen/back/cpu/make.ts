/** One run of cmake-js with templates/cpu/CMakeLists.txt: a folder → the library that it makes there. */
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { missingTool } from '../../../toolchain/compilers.ts';
import { DiskFullError, isFull, run } from '../../../toolchain/process.ts';
import { includes, templates } from '../shared/includes.ts';

/**
 * Makes `library` in `folder` and returns its path. `failed` makes an error of what the compiler said; `why` is known when
 * the machine is to blame. Nothing but the library is left behind.
 */
export async function made(
  folder: string,
  library: string,
  march: string,
  definitions: Readonly<Record<string, string>>,
  failed: (output: string, why: string | undefined) => Error,
): Promise<string> {
  copyFileSync(join(templates, 'cpu', 'CMakeLists.txt'), join(folder, 'CMakeLists.txt'));
  // cmake-js looks here for the Node-API version; with one it needs no download of headers
  writeFileSync(join(folder, 'package.json'), '{"name":"policy","version":"0.0.0","binary":{"napi_versions":[8]}}\n');
  const all = { SKV_INCLUDES: includes.join(';'), SKV_MARCH: march, ...definitions };
  const args = [
    createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js'),
    ...['compile', '--directory', folder, '--out', join(folder, 'build')],
    ...Object.entries(all).map(([name, value]) => `--CD${name}=${value}`),
    ...['-p', '2'],
  ];
  const { code, output } = await run(process.execPath, args, { cwd: folder });
  const [built, to] = [join(folder, 'build', library), join(folder, library)];
  if (code !== 0 || !existsSync(built)) {
    if (isFull(output, folder)) throw new DiskFullError(dirname(folder));
    throw failed(output, missingTool() ?? unknownMachine(output, march));
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
