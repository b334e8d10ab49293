/** policy.cpp → policy.so for the CPU, by cmake-js. */
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { includes, templates } from '../shared/includes.ts';
import type { CompileOptions, Compiler } from '../shared/target.ts';
import { DiskFullError, isFull, run } from '../../../toolchain/process.ts';
import { doesNotCompile } from '../shared/failure.ts';
import { missingTool } from '../../../toolchain/compilers.ts';

export function cmake(options: CompileOptions): Compiler {
  const march = options.march ?? process.env.SKV_MARCH ?? 'native';
  return {
    fingerprint: march === 'native' ? `native ${instructionSet()}` : march,
    compile: (folder, policyFile) => compileFor(march, folder, policyFile),
  };
}

let here: string | undefined;

/** What -march=native means here: a folder of builds may be carried to another machine. Read once a process. */
function instructionSet(): string {
  return (here ??= readInstructionSet());
}

function readInstructionSet(): string {
  try {
    const [, flags = ''] = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8')) ?? [];
    if (flags) return flags.trim();
  } catch {
    // no Linux
  }
  return cpus()[0]?.model ?? 'unknown';
}

async function compileFor(march: string, folder: string, policyFile: string): Promise<string> {
  copyFileSync(join(templates, 'cpu', 'CMakeLists.txt'), join(folder, 'CMakeLists.txt'));
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
    `--CDSKV_INCLUDES=${includes.join(';')}`,
    `--CDSKV_MARCH=${march}`,
    '-p',
    '2',
  ];
  const { code, output } = await run(process.execPath, args, { cwd: folder });
  const [built, library] = [join(folder, 'build', 'policy.so'), join(folder, 'policy.so')];
  if (code !== 0 || !existsSync(built)) {
    if (isFull(output, folder)) throw new DiskFullError(dirname(folder));
    const unknown =
      /(bad value|unknown target CPU|unsupported argument).*march|march.*(bad value|unsupported argument)/.test(output)
        ? `The C++ compiler knows no architecture ${march}. Set SKV_MARCH to one that it has (x86-64-v3, native …), or unset it.`
        : undefined;
    throw doesNotCompile(policyFile, output, missingTool() ?? unknown);
  }
  copyFileSync(built, library);
  for (const rest of ['build', 'package.json', 'CMakeLists.txt'])
    rmSync(join(folder, rest), { recursive: true, force: true });
  return library;
}
