/** What each CUDA kernel needs of a multiprocessor: what ptxas -v prints while it compiles, and how it is launched. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface KernelUsage {
  /** as in the source, such as compact_kernel<Policy, Bf16, 64> */
  kernel: string;
  /** compute capability, 80 or 90 … */
  arch: number;
  /** of a thread */
  registers: number;
  /** of a block; 0 where nobody said how it is launched */
  threads: number;
  /** bytes of shared memory of a block, with what its launch asks for */
  shared: number;
  /** bytes of local memory of a thread: arrays that registers cannot hold */
  stack: number;
  /** bytes that did not fit into registers, stored and loaded */
  spillStores: number;
  spillLoads: number;
  /** of ptxas; 0 when it is too old to say */
  milliseconds: number;
}

/** Every kernel of a compilation, by name and architecture. `launches`: kernel, threads and shared bytes, a line each. */
export function readUsage(output: string, launches = ''): KernelUsage[] {
  const found: KernelUsage[] = [];
  for (const line of output.split('\n')) {
    const entry = line.match(/Compiling entry function '(.+)' for 'sm_(\d+)[af]?'/);
    if (entry)
      found.push({
        kernel: entry[1],
        arch: Number(entry[2]),
        registers: 0,
        threads: 0,
        shared: 0,
        stack: 0,
        spillStores: 0,
        spillLoads: 0,
        milliseconds: 0,
      });
    const kernel = found.at(-1);
    if (!kernel) continue;
    const number = (pattern: RegExp) => Number(line.match(pattern)?.[1] ?? 0);
    // a kernel's functions that were not inlined have lines of their own before its `Used` line
    kernel.stack = Math.max(kernel.stack, number(/(\d+) bytes stack frame/), number(/(\d+) bytes cumulative stack/));
    // (a spill is also an error, in a line that may come before another kernel's)
    kernel.spillStores += number(/^\s+\d+ bytes stack frame, (\d+) bytes spill stores/);
    kernel.spillLoads += number(/^\s+\d+ bytes stack frame,.* (\d+) bytes spill loads/);
    kernel.registers ||= number(/Used (\d+) registers/);
    kernel.shared ||= number(/(\d+) bytes smem/);
    kernel.milliseconds ||= number(/Compile time = ([\d.]+) ms/);
  }
  const names = readable(found.map(({ kernel }) => kernel));
  const launched = new Map(
    launches.split('\n').map((line) => {
      const [kernel, threads, shared] = line.split('\t');
      return [kernel, { threads: Number(threads), shared: Number(shared) }];
    }),
  );
  return found
    .map((usage, i) => {
      const launch = launched.get(names[i]) ?? { threads: 0, shared: 0 };
      return { ...usage, kernel: names[i], threads: launch.threads, shared: usage.shared + launch.shared };
    })
    .sort(byName);
}

const byName = (a: KernelUsage, b: KernelUsage): number =>
  a.kernel === b.kernel ? a.arch - b.arch : a.kernel < b.kernel ? -1 : 1;

/** Linker names as in the source, without return type, parameters and the unnamed namespace; as they are without c++filt. */
export function readable(symbols: readonly string[]): string[] {
  if (symbols.length === 0) return [];
  const { status, stdout } = spawnSync('c++filt', { input: symbols.join('\n'), encoding: 'utf8' });
  if (status !== 0) return [...symbols];
  return stdout
    .trimEnd()
    .split('\n')
    .map((full) => {
      const name = full.replace(/\(anonymous namespace\)::/g, '').replace(/^void /, '');
      let depth = 0;
      for (let i = 0; i < name.length; i++) {
        if (name[i] === '<') depth++;
        if (name[i] === '>') depth--;
        if (name[i] === '(' && depth === 0) return name.slice(0, i);
      }
      return name;
    });
}

const fileIn = (directory: string): string => join(directory, 'usage.json');

/** Keeps the usage of a build beside its library, by name. */
export function writeUsage(directory: string, usage: readonly KernelUsage[]): void {
  writeFileSync(fileIn(directory), `${JSON.stringify([...usage].sort(byName), null, 2)}\n`);
}

/** The usage of a build; undefined for a target that has none. */
export function usageOf(directory: string): KernelUsage[] | undefined {
  const file = fileIn(directory);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as KernelUsage[]) : undefined;
}
