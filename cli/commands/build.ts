import { statSync } from 'node:fs';
import { build } from '../../codegen/build.ts';
import { PolicyErrors } from '../../codegen/ir/diagnostics.ts';
import { usageOf } from '../../codegen/back/cuda/usage.ts';
import { report, table } from '../kernels.ts';
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
        const kernels = usage && report(usage);
        const { size } = statSync(library);
        if (flags.json) {
          json({ name, target, hash, library, directory, ...(flags.report && { size, seconds, kernels }) });
          continue;
        }
        const sizes = flags.report ? `  ${bytes(size)}, ${seconds.toFixed(1)} s` : '';
        say(`${name}  ${target}  ${library}${sizes}`);
        if (kernels) for (const line of table(kernels, true)) say(`  ${line}`);
      } catch (error) {
        if (!(error instanceof PolicyErrors)) throw error;
        mistakes.push(error);
      }
    }
  }
  if (mistakes.length) throw new PolicyErrors(mistakes.flatMap((each) => [...each.diagnostics]));
}
