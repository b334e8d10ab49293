/** policy.cu → policy.so and usage.json, by one call of nvcc. */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CompileOptions, Compiler } from '../shared/target.ts';
import { type CudaToolchain, findCuda, gencode, nvccFlags } from '../../../toolchain/cuda.ts';
import { CompileError, DiskFullError, type Finished, isFull, run } from '../../../toolchain/process.ts';
import { doesNotCompile } from '../shared/failure.ts';
import { missingTool } from '../../../toolchain/compilers.ts';
import { includes } from '../shared/includes.ts';
import { readUsage, writeUsage } from './usage.ts';

export function nvcc(options: CompileOptions): Compiler {
  const code = gencode(options.archs);
  let toolchain: CudaToolchain | CompileError;
  try {
    toolchain = findCuda(options.cudaPath);
  } catch (error) {
    toolchain = error as CompileError; // told when it is needed: the source can be shown without a compiler
  }
  const version = toolchain instanceof Error ? 'none' : toolchain.version;
  return {
    fingerprint: [version, ...code, ...nvccFlags].join(' '),
    compile: (folder, policyFile) => {
      if (toolchain instanceof Error) throw toolchain;
      return compileWith(toolchain, code, folder, policyFile);
    },
  };
}

const searched = includes.map((path) => `-I${path}`);

async function compileWith(toolchain: CudaToolchain, code: string[], folder: string, file: string): Promise<string> {
  const library = join(folder, 'policy.so');
  const args = [...nvccFlags, ...code, ...searched, `-L${toolchain.libraries}`, '-o', library, 'policy.cu'];
  const [{ code: exit, output }, launched] = await Promise.all([
    run(toolchain.nvcc, args, { cwd: folder, env: { TMPDIR: folder } }),
    launches(toolchain, folder),
  ]);
  if (exit !== 0 || !existsSync(library)) {
    rmSync(library, { force: true });
    if (isFull(output, folder)) throw new DiskFullError(dirname(folder));
    throw spills(output, file) ?? doesNotCompile(`the generated code of ${file}`, placed(output), missingTool('c++'));
  }
  if (launched.code !== 0) throw doesNotCompile(`the generated code of ${file}`, launched.output, missingTool('c++'));
  writeUsage(folder, readUsage(output, launched.output));
  return library;
}

/** The same source as a program that prints how its kernels are launched (templates/cuda/launches.hpp). Runs without a GPU. */
export async function launches(toolchain: CudaToolchain, folder: string): Promise<Finished> {
  const program = join(folder, 'launches');
  // it has none of a policy's kernels: which architecture it is for does not matter
  const args = ['-std=c++17', '-O0', '-DSKV_LAUNCHES', '-cudart', 'static', ...gencode([80]), ...searched];
  try {
    const compiled = await run(toolchain.nvcc, [...args, `-L${toolchain.libraries}`, '-o', program, 'policy.cu'], {
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
function spills(output: string, file: string): CompileError | undefined {
  const found = readUsage(output).filter(({ spillStores, spillLoads }) => spillStores + spillLoads > 0);
  if (!found.length || !/spill/i.test(output)) return undefined;
  const lines = found.map(
    ({ kernel, arch, registers, spillStores, spillLoads }) =>
      `  ${kernel} on sm_${arch}: ${spillStores} bytes stored, ${spillLoads} loaded, with ${registers} registers`,
  );
  return new CompileError(
    `${file}: registers spill to memory, which would make these kernels slow:\n${lines.join('\n')}\nA shorter score, fewer states or a smaller --head-dim needs fewer registers.`,
  );
}
