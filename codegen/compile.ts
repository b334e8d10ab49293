/** Source files in a folder → policy.so beside them, by cmake-js. */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InternalError } from './diagnostics.ts';
import { templates } from './render.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A compiler that failed, or is not there: what it said and what to do. */
export class CompileError extends Error {
  override name = 'CompileError';
}

/** What to install when a build fails for want of a tool; undefined when nothing is missing. */
function missingTool(): string | undefined {
  const runs = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  if (!runs('cmake'))
    return 'CMake is missing. Install it (Debian, Ubuntu: apt-get install cmake; macOS: brew install cmake), then build again.';
  if (![process.env.CXX ?? 'c++', 'g++', 'clang++'].some(runs))
    return 'A C++ compiler is missing. Install one (Debian, Ubuntu: apt-get install g++ make; macOS: xcode-select --install), then build again.';
  return undefined;
}

/** Compiles `folder`/policy.cpp for an instruction set; policyFile is named in errors. */
export async function compile(folder: string, march: string, policyFile: string): Promise<string> {
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
    `--CDSKV_ROOT=${root}`,
    `--CDSKV_MARCH=${march}`,
    '-p',
    '2',
  ];
  const { code, output } = await run(process.execPath, args, folder);
  const built = join(folder, 'build', 'policy.so');
  if (code !== 0 || !existsSync(built)) throw new CompileError(explain(output, policyFile));
  copyFileSync(built, join(folder, 'policy.so'));
  for (const rest of ['build', 'package.json', 'CMakeLists.txt'])
    rmSync(join(folder, rest), { recursive: true, force: true });
  return join(folder, 'policy.so');
}

function run(command: string, args: string[], cwd: string): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, LC_ALL: 'C' } });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => resolve({ code: 1, output: `${output}\n${error.message}` }));
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** The compiler's own lines that matter; #line has made them point into the policy. */
function explain(output: string, policyFile: string): string {
  const missing = missingTool();
  if (missing) return missing;
  if (/No space left on device/.test(output))
    return 'The disk is full. Free some space, then build again; nothing was left behind.';
  const errors = output.split('\n').filter((line) => /(error|Error):/.test(line));
  const head = `${new InternalError(`the generated code of ${policyFile} does not compile`).message}. This is a bug in skv.`;
  return `${head}\n${(errors.length ? errors : output.trim().split('\n').slice(-20)).join('\n')}`;
}
