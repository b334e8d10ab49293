/** Compiles bench/native on demand, from the very objects of skv_cpu.so, and runs it. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compiler, compilerVersion, missingTool } from '../toolchain/compilers.ts';
import { ensureNative } from '../runtime/native/ensure.ts';
import { Child } from './child.ts';
import { machine } from './machine.ts';
import { buildFolder, root } from '../toolchain/folders.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/** Compiles once for each state of the sources; other processes may do the same at the same time. */
export function compiled(name: string, sources: readonly string[], args: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(args)).update(compilerVersion());
  for (const file of sources) hash.update(readFileSync(file));
  const folder = buildFolder('bench');
  const out = join(folder, `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(out)) return out;
  mkdirSync(folder, { recursive: true });
  const draft = `${out}.${process.pid}`;
  const compile = sources.filter((file) => !file.endsWith('.h'));
  const [command, ...own] = compiler();
  const { status, stderr } = spawnSync(command, [...own, ...compile, ...args, '-o', draft], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`bench/native could not be built.\n${missingTool() ?? stderr}`);
  renameSync(draft, out);
  return out;
}

/** Objects of skv_cpu.so in a build folder. CMake leaves those of sources that are gone; they would be linked twice. */
export function objectsOf(build: string): string[] {
  const objects = join(build, 'CMakeFiles', 'skv_cpu.dir', 'runtime', 'native');
  return (readdirSync(objects, { recursive: true }) as string[])
    .filter((name) => name.endsWith('.o') && existsSync(join(root, 'runtime', 'native', name.slice(0, -2))))
    .map((name) => join(objects, name));
}

function program(): string {
  const linked = objectsOf(dirname(dirname(ensureNative())));
  const sources = readdirSync(join(here, 'native'))
    .filter((name) => /\.(h|cpp)$/.test(name))
    .map((name) => join(here, 'native', name));
  const flags = [
    '-O3',
    `-march=${process.env.SKV_MARCH || 'native'}`, // limits are those of the instruction set that policies are built for
    '-std=c++17',
    '-Wall',
    ...['contract', 'native/cpu', 'native/loader'].map((room) => `-I${join(root, 'runtime', room)}`),
    '-ldl',
    '-lpthread',
  ];
  return compiled('kernels', [...sources, ...linked], flags);
}

export interface Answer {
  seconds: number;
  bytes: number;
  ops: number;
}

/** The helper with its threads pinned as the engine pins its own. */
export async function startHelper(): Promise<Child> {
  const { cores } = machine();
  const child = Child.start('the kernel bench', program(), []);
  await child.ask(`threads ${cores.length} ${cores.join(' ')}`);
  return child;
}
