/** policy.cu → policy.so and usage.json, by nvcc. What no policy enters is compiled once for many (attention.ts). */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { CompileOptions, Compiler } from '../shared/target.ts';
import { type CudaToolchain, compileFlags, findCuda, gencode, linkFlags } from '../../../toolchain/cuda.ts';
import { type CompileError, DiskFullError, isFull, run } from '../../../toolchain/process.ts';
import { doesNotCompile } from '../shared/failure.ts';
import { missingTool } from '../../../toolchain/compilers.ts';
import { attentionFor } from './attention.ts';
import { objectOf } from './object.ts';
import { writeUsage } from './usage.ts';

export function nvcc(options: CompileOptions): Compiler {
  const code = gencode(options.archs);
  let toolchain: CudaToolchain | CompileError;
  try {
    toolchain = findCuda(options.cudaPath);
  } catch (error) {
    toolchain = error as CompileError; // told when it is needed: the source can be shown without a compiler
  }
  const version = toolchain instanceof Error ? 'none' : toolchain.version;
  const fingerprint = [version, ...code, ...compileFlags, ...linkFlags].join(' ');
  return {
    fingerprint,
    async compile(folder, policyFile) {
      if (toolchain instanceof Error) throw toolchain;
      const policy = {
        source: 'policy.cu',
        what: `the generated code of ${policyFile}`,
        short: policyFile,
        advice: 'A shorter score, fewer states or a smaller --head-dim needs fewer registers.',
      };
      // both to their ends, whatever one of them says: a compiler that still runs would write where nothing is expected
      const [own, attention] = await Promise.allSettled([
        objectOf(toolchain, code, folder, policy),
        attentionFor(toolchain, code, folder, fingerprint),
      ]);
      const object = join(folder, 'policy.o');
      try {
        if (own.status === 'rejected') throw own.reason;
        if (attention.status === 'rejected') throw attention.reason;
        writeUsage(folder, [...own.value, ...attention.value.usage]);
        return await link(toolchain, folder, [object, attention.value.object], policy.what);
      } finally {
        rmSync(object, { force: true });
      }
    },
  };
}

/** Objects → policy.so. */
async function link(toolchain: CudaToolchain, folder: string, objects: string[], what: string): Promise<string> {
  const library = join(folder, 'policy.so');
  const args = [...linkFlags, `-L${toolchain.libraries}`, '-o', library, ...objects];
  const { code, output } = await run(toolchain.nvcc, args, { cwd: folder, env: { TMPDIR: folder } });
  if (code === 0 && existsSync(library)) return library;
  rmSync(library, { force: true });
  if (isFull(output, folder)) throw new DiskFullError(dirname(folder));
  throw doesNotCompile(what, output, missingTool('c++'));
}
