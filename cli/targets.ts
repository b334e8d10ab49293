/** --target and what belongs to it, as the compiler takes them. */
import type { BuildOptions } from '../codegen/build.ts';
import { headDims as dims } from '../codegen/plan/cuda.ts';
import type { KvType, Target } from '../codegen/plan/types.ts';
import { kvBytes } from '../runtime/contract/records.ts';
import { UserError } from '../toolchain/errors.ts';

export interface TargetFlags {
  target: string;
  arch?: string;
  cudaPath?: string;
  headDim?: string;
  kv?: string;
}

export type TargetOptions = BuildOptions & { target: Target };

/** Options of a build for each target of a comma-separated list. */
export function targetOptions({ target, arch, cudaPath, headDim, kv }: TargetFlags): TargetOptions[] {
  const cuda = { cudaPath, archs: archs(arch), headDims: headDims(headDim), kvTypes: kvTypes(kv) };
  const targets = list(target);
  const [given] = Object.entries({ arch, 'cuda-path': cudaPath, 'head-dim': headDim, kv }).filter(([, text]) => text);
  if (given && !targets.includes('cuda'))
    throw new UserError(`--${given[0]} ${given[1]} is for CUDA kernels: add --target cuda.`);
  return targets.map((name) => {
    if (name !== 'cpu' && name !== 'cuda') throw new UserError(`--target ${target}: cpu and cuda are possible.`);
    return name === 'cpu' ? { target: name } : { target: name, ...cuda };
  });
}

const list = (text: string): string[] => [...new Set(text.split(',').map((each) => each.trim()))];

function archs(text: string | undefined): number[] | undefined {
  const found = text && list(text).map((each) => Number(each.replace(/^sm_/, '')));
  if (!found) return undefined;
  if (!found.every((arch) => Number.isInteger(arch) && arch >= 80 && arch < 1000))
    throw new UserError(
      `--arch ${text}: a list of compute capabilities from 80 on is needed, such as 80,90 (A100 is 80, H100 90).`,
    );
  return found.sort((a, b) => a - b);
}

function headDims(text: string | undefined): number[] | undefined {
  const found = text && list(text).map(Number);
  if (!found) return undefined;
  if (!found.every((dim) => dims.includes(dim)))
    throw new UserError(
      `--head-dim ${text}: a list of ${dims.slice(0, -1).join(', ')} and ${dims.at(-1)} is needed, such as 64,128.`,
    );
  return found.sort((a, b) => a - b);
}

function kvTypes(text: string | undefined): KvType[] | undefined {
  const found = text && list(text);
  if (!found) return undefined;
  if (!found.every((type): type is KvType => Object.hasOwn(kvBytes, type)))
    throw new UserError(`--kv ${text}: a list of bf16, f16 and f32 is needed.`);
  return found;
}
