/** policy.cpp → policy.so for the CPU, by cmake-js and CMake. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { namedCompiler } from '../../../toolchain/compilers.ts';
import { doesNotCompile } from '../shared/failure.ts';
import type { CompileOptions, Compiler } from '../shared/target.ts';
import { kernelsAt, kernelsFor } from './kernels.ts';
import { configured, made } from './make.ts';

export function cmake(options: CompileOptions): Compiler {
  const march = (options.march ?? process.env.SKV_MARCH) || 'native';
  const fingerprint = [march, march === 'native' ? instructionSet() : '', namedCompiler()].join(' ').trim();
  return {
    fingerprint,
    async prepare(folder) {
      await configured(folder, { SKV_MARCH: march, SKV_KERNELS: kernelsAt(fingerprint) });
    },
    async compile(folder, policyFile) {
      const kernels = await kernelsFor(march, fingerprint);
      return made(folder, 'policy.so', { SKV_MARCH: march, SKV_KERNELS: kernels }, (output, why) =>
        doesNotCompile(`the generated code of ${policyFile}`, output, why),
      );
    },
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
