/** --target, --arch and --cuda-path, as the compiler takes them. */
import type { BuildOptions } from '../codegen/build.ts';
import type { Target } from '../codegen/plan-types.ts';
import { UserError } from './output.ts';

export interface TargetFlags {
  target: string;
  arch?: string;
  cudaPath?: string;
}

/** Options of a build for each target of a comma-separated list. */
export function targetOptions({ target, arch, cudaPath }: TargetFlags): (BuildOptions & { target: Target })[] {
  return target.split(',').map((name) => {
    if (name !== 'cpu' && name !== 'cuda') throw new UserError(`--target ${target}: cpu and cuda are possible.`);
    return name === 'cpu' ? { target: name } : { target: name, cudaPath, archs: parseArchs(arch) };
  });
}

function parseArchs(list: string | undefined): number[] | undefined {
  if (list === undefined) return undefined;
  const archs = list.split(',').map((each) => Number(each.trim().replace(/^sm_/, '')));
  if (!archs.every((arch) => Number.isInteger(arch) && arch >= 80 && arch < 1000))
    throw new UserError(
      `--arch ${list}: a list of compute capabilities from 80 on is needed, such as 80,90 (A100 is 80, H100 90).`,
    );
  return [...new Set(archs)].sort((a, b) => a - b);
}
