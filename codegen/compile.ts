/** Source files in a folder → policy.so beside them, by cmake-js. */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InternalError } from './diagnostics.ts';
import { missingTool } from './toolchain.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** A compiler that failed, or is not there: what it said and what to do. */
export class CompileError extends Error {
  override name = 'CompileError';
}

/** No room for a build's files. */
export class DiskFullError extends CompileError {
  constructor(folder: string) {
    super(`The disk of ${folder} is full. Free some space, then build again; nothing was left behind.`);
  }
}

/** Compiles `folder`/policy.cpp for an instruction set; policyFile is named in errors. */
export async function compile(folder: string, march: string, policyFile: string): Promise<string> {
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
  const { code, output } = await run(process.execPath, args, folder);
  const built = join(folder, 'build', 'policy.so');
  if (code !== 0 || !existsSync(built))
    throw isFull(output, folder) ? new DiskFullError(dirname(folder)) : new CompileError(explain(output, policyFile));
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

/** Tools on a full disk say so, or die of a file cut short; then the disk itself tells. */
function isFull(output: string, folder: string): boolean {
  const { bavail, bsize } = statfsSync(folder);
  return /No space left on device|ENOSPC/.test(output) || bavail * bsize < 65_536;
}

/** The compiler's own lines that matter; #line has made them point into the policy. */
function explain(output: string, policyFile: string): string {
  const missing = missingTool();
  if (missing) return missing;
  const errors = output.split('\n').filter((line) => /(error|Error):/.test(line));
  const head = `${new InternalError(`the generated code of ${policyFile} does not compile`).message}. This is a bug in skv.`;
  return `${head}\n${(errors.length ? errors : output.trim().split('\n').slice(-20)).join('\n')}`;
}
