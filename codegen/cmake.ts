/** policy.cpp → policy.so for the CPU, by cmake-js. */
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CompileOptions, Compiler } from './compile.ts';
import { DiskFullError, doesNotCompile, isFull, run } from './process.ts';
import { missingTool } from './toolchain.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

export function cmake(options: CompileOptions): Compiler {
  const march = options.march ?? process.env.SKV_MARCH ?? 'native';
  return { fingerprint: march, compile: (folder, policyFile) => compileFor(march, folder, policyFile) };
}

async function compileFor(march: string, folder: string, policyFile: string): Promise<string> {
  copyFileSync(join(root, 'templates', 'cpu', 'CMakeLists.txt'), join(folder, 'CMakeLists.txt'));
  // cmake-js looks here for the Node-API version; with one it needs no download of headers
  writeFileSync(join(folder, 'package.json'), '{"name":"policy","version":"0.0.0","binary":{"napi_versions":[8]}}\n');
  const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const args = [
    cmakeJs,
    'compile',
    '--directory',
    folder,
    '--out',
    join(folder, 'build'),
    `--CDSKV_ROOT=${root}`,
    `--CDSKV_MARCH=${march}`,
    '-p',
    '2',
  ];
  const { code, output } = await run(process.execPath, args, { cwd: folder });
  const [built, library] = [join(folder, 'build', 'policy.so'), join(folder, 'policy.so')];
  if (code !== 0 || !existsSync(built)) {
    if (isFull(output, folder)) throw new DiskFullError(dirname(folder));
    throw doesNotCompile(policyFile, output, missingTool());
  }
  copyFileSync(built, library);
  for (const rest of ['build', 'package.json', 'CMakeLists.txt'])
    rmSync(join(folder, rest), { recursive: true, force: true });
  return library;
}
