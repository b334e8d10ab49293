import { statSync } from 'node:fs';
import { build } from '../../codegen/build.ts';
import { PolicyErrors } from '../../codegen/diagnostics.ts';
import type { Target } from '../../codegen/plan-types.ts';
import { UserError, bytes, json, say } from '../output.ts';
import { policyFile } from '../policies.ts';

export async function buildAll(
  policies: string[],
  options: { target: string; force?: boolean; report?: boolean; json?: boolean },
): Promise<void> {
  const targets = options.target.split(',');
  for (const target of targets)
    if (target !== 'cpu' && target !== 'cuda')
      throw new UserError(`--target ${target}: cpu is possible (cuda is to come).`);
  const mistakes: PolicyErrors[] = [];
  for (const file of policies.map(policyFile)) {
    for (const target of targets as Target[]) {
      try {
        const start = Date.now();
        const built = await build(file, { target, force: options.force });
        const { size } = statSync(built.library);
        if (options.json)
          json({
            name: built.plan.name,
            target,
            hash: built.plan.hash,
            library: built.library,
            directory: built.directory,
          });
        else
          say(
            `${built.plan.name}  ${target}  ${built.library}${options.report ? `  ${bytes(size)}, ${((Date.now() - start) / 1000).toFixed(1)} s` : ''}`,
          );
      } catch (error) {
        if (!(error instanceof PolicyErrors)) throw error;
        mistakes.push(error);
      }
    }
  }
  if (mistakes.length) throw new PolicyErrors(mistakes.flatMap((each) => [...each.diagnostics]));
}
