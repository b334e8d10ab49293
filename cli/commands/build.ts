import { statSync } from 'node:fs';
import { build } from '../../codegen/build.ts';
import { PolicyErrors } from '../../codegen/diagnostics.ts';
import { type KernelUsage, usageOf } from '../../codegen/usage.ts';
import { bytes, json, say } from '../output.ts';
import { policyFile } from '../policies.ts';
import { type TargetFlags, targetOptions } from '../targets.ts';

export async function buildAll(
  policies: string[],
  flags: TargetFlags & { force?: boolean; report?: boolean; json?: boolean },
): Promise<void> {
  const targets = targetOptions(flags);
  const mistakes: PolicyErrors[] = [];
  for (const file of policies.map(policyFile)) {
    for (const options of targets) {
      try {
        const start = Date.now();
        const { plan, library, directory } = await build(file, { ...options, force: flags.force });
        const seconds = (Date.now() - start) / 1000;
        const { name, target, hash } = plan;
        const usage = flags.report ? usageOf(directory) : undefined;
        if (flags.json) {
          json({ name, target, hash, library, directory, usage });
          continue;
        }
        const size = flags.report ? `  ${bytes(statSync(library).size)}, ${seconds.toFixed(1)} s` : '';
        say(`${name}  ${target}  ${library}${size}`);
        if (usage) for (const line of table(usage)) say(line);
      } catch (error) {
        if (!(error instanceof PolicyErrors)) throw error;
        mistakes.push(error);
      }
    }
  }
  if (mistakes.length) throw new PolicyErrors(mistakes.flatMap((each) => [...each.diagnostics]));
}

/** One line a kernel and architecture. */
function table(usage: readonly KernelUsage[]): string[] {
  const width = Math.max(...usage.map(({ kernel }) => kernel.length));
  return usage.map(
    ({ kernel, arch, registers, threads, shared, stack, spillStores, spillLoads, milliseconds }) =>
      `  ${kernel.padEnd(width)}  sm_${arch}  ${String(threads).padStart(4)} threads  ${String(registers).padStart(3)} registers  ${String(shared).padStart(6)} B shared  ${String(stack).padStart(5)} B stack  ${spillStores + spillLoads} B spilled  ${milliseconds.toFixed(0)} ms`,
  );
}
