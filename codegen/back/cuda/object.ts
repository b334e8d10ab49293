/** One .cu → an object beside it, by nvcc, and what its kernels need of a device. */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CudaToolchain, compileFlags, gencode } from '../../../toolchain/cuda.ts';
import { CompileError, DiskFullError, type Finished, isFull, run } from '../../../toolchain/process.ts';
import { missingTool } from '../../../toolchain/compilers.ts';
import { doesNotCompile } from '../shared/failure.ts';
import { includes } from '../shared/includes.ts';
import { type KernelUsage, readUsage } from './usage.ts';

/** A source, and how errors speak of it. */
export interface CudaSource {
  /** file.cu in the folder */
  source: string;
  /** in “… does not compile” */
  what: string;
  /** before “registers spill” */
  short: string;
  /** what needs fewer registers, a sentence */
  advice: string;
}

const searched = includes.map((path) => `-I${path}`);

/** Compiles folder/NAME.cu to folder/NAME.o. Throws CompileError (a spill, a missing tool) and DiskFullError. */
export async function objectOf(
  toolchain: CudaToolchain,
  code: readonly string[],
  folder: string,
  { source, what, short, advice }: CudaSource,
): Promise<KernelUsage[]> {
  const object = source.replace(/cu$/, 'o');
  const args = [...compileFlags, ...code, ...searched, '-c', '-o', object, source];
  const [{ code: exit, output }, launched] = await Promise.all([
    run(toolchain.nvcc, args, { cwd: folder, env: { TMPDIR: folder } }),
    launches(toolchain, folder, source),
  ]);
  const usage = readUsage(output, launched.output);
  if (exit === 0 && launched.code === 0 && existsSync(join(folder, object))) return usage;
  rmSync(join(folder, object), { force: true });
  if (isFull(output, folder)) throw new DiskFullError(dirname(folder));
  if (exit === 0) throw doesNotCompile(what, launched.output, missingTool('c++'));
  throw spills(output, usage, short, advice) ?? doesNotCompile(what, placed(output), missingTool('c++'));
}

/** The same source as a program that prints how its kernels are launched (templates/cuda/launches.hpp). Runs without a GPU. */
export async function launches(toolchain: CudaToolchain, folder: string, source: string): Promise<Finished> {
  const program = join(folder, source.replace('.cu', '-launches'));
  // it has none of the kernels: which architecture it is for does not matter
  const args = ['-std=c++17', '-O0', '-DSKV_LAUNCHES', '-cudart', 'static', ...gencode([80]), ...searched];
  try {
    const compiled = await run(toolchain.nvcc, [...args, `-L${toolchain.libraries}`, '-o', program, source], {
      cwd: folder,
      env: { TMPDIR: folder },
    });
    return compiled.code === 0 ? await run(program, []) : compiled;
  } finally {
    rmSync(program, { force: true });
  }
}

/** nvcc writes file(line): where everybody else writes file:line: */
const placed = (output: string): string => output.replace(/^(\S.*?)\((\d+)\): (error|warning)/gm, '$1:$2: $3');

/** Kernels whose registers spill, by name. */
function spills(
  output: string,
  usage: readonly KernelUsage[],
  short: string,
  advice: string,
): CompileError | undefined {
  const found = usage.filter(({ spillStores, spillLoads }) => spillStores + spillLoads > 0);
  if (!found.length || !/spill/i.test(output)) return undefined;
  const lines = found.map(
    ({ kernel, arch, registers, spillStores, spillLoads }) =>
      `  ${kernel} on sm_${arch}: ${spillStores} bytes stored, ${spillLoads} loaded, with ${registers} registers`,
  );
  return new CompileError(
    `${short}: registers spill to memory, which would make these kernels slow:\n${lines.join('\n')}\n${advice}`,
  );
}
