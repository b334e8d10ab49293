/** Packages of PyPI in a folder of skv's cache, by pip: nothing of the system's changes, no root. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CompileError, DiskFullError, isFull, run } from './process.ts';
import { filled, locked } from './locks.ts';
import { cacheFolder, root } from './folders.mjs';

export interface Wheels {
  /** begins the name of their folder */
  readonly name: string;
  /** the file with the pins, and the reason for them */
  readonly requirements: string;
  /** what they are to who waits for them */
  readonly what: string;
  /** the command that installs them */
  readonly command: string;
}

/** NVIDIA's own nvcc: no system CUDA is needed. */
export const cudaWheels: Wheels = {
  name: 'cuda',
  requirements: join(root, 'toolchain', 'cuda-requirements.txt'),
  what: 'the CUDA compiler',
  command: 'skv doctor --install-cuda',
};

/** NVIDIA's products of matrices, for GPU machines without a toolkit. */
export const cublasWheels: Wheels = {
  name: 'cublas',
  requirements: join(root, 'toolchain', 'cublas-requirements.txt'),
  what: 'cuBLASLt',
  command: 'skv doctor --install-cublas',
};

/** Where the wheels are, or will be: other pins are another folder. */
export function wheelFolder({ name, requirements } = cudaWheels): string {
  const pins = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 8);
  return join(cacheFolder(), `${name}-wheels-${pins}`);
}

/** Installs the wheels unless they are there; returns their folder. Safe beside other processes doing the same. */
export async function installWheels(wheels = cudaWheels): Promise<string> {
  const folder = wheelFolder(wheels);
  if (existsSync(folder)) return folder;
  try {
    mkdirSync(dirname(folder), { recursive: true });
    return await locked(`${folder}.lock`, async () => {
      if (!existsSync(folder)) await fetchInto(folder, wheels); // else another process was first
      return folder;
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw new DiskFullError(dirname(folder));
    throw error;
  }
}

async function fetchInto(folder: string, wheels: Wheels): Promise<void> {
  const parent = dirname(folder);
  for (const name of readdirSync(parent)) // left by a process that was killed; the lock says nobody writes now
    if (name.startsWith(`${basename(folder)}.`) && name.endsWith('.tmp'))
      rmSync(join(parent, name), { recursive: true, force: true });
  await filled(folder, async (draft) => {
    const work = join(draft, 'pip');
    mkdirSync(work);
    const python = process.env.PYTHON ?? 'python3';
    const args = [
      '-m',
      'pip',
      'install',
      '--no-deps',
      '--no-compile',
      '--only-binary=:all:',
      '--no-input',
      '--quiet',
      '--no-color',
    ];
    args.push('--disable-pip-version-check', '--progress-bar', 'off', '--target', draft, '-r', wheels.requirements);
    const { code, output } = await run(python, args, { env: { TMPDIR: work, PIP_ROOT_USER_ACTION: 'ignore' } });
    if (code !== 0)
      throw isFull(output, draft) ? new DiskFullError(parent) : new CompileError(explain(wheels, python, output));
    rmSync(work, { recursive: true, force: true });
  });
}

/** What pip's failure means and what to do. */
function explain({ requirements, what, command }: Wheels, python: string, output: string): string {
  const pip = `Install Python 3 with pip (Debian, Ubuntu: apt-get install python3-pip), then run again: ${command}`;
  if (/ENOENT/.test(output)) return `${python} was not found. ${pip}`;
  if (/No module named '?pip/.test(output)) return `${python} has no pip. ${pip}`;
  const lines = output.trim().split('\n');
  const last = lines.filter((line) => /^ERROR/.test(line)).at(-1) ?? lines.at(-1);
  const offline = /Failed to establish a new connection|name resolution|Network is unreachable|timed out/.test(output);
  const why = offline ? 'No package index can be reached from here' : `pip could not install ${what}`;
  return `${why}: ${last}
Fetch the wheels where there is a network:  ${python} -m pip download --no-deps -r ${requirements} -d wheels
then install them here from that folder:    PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels ${command}`;
}
