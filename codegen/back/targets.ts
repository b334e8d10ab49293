/** The targets, one entry each. */
import type { Target } from '../plan/types.ts';
import { cmake } from './cpu/cmake.ts';
import { cpuText } from './cpu/text.ts';
import { nvcc } from './cuda/nvcc.ts';
import { cudaText } from './cuda/text.ts';
import type { TargetBack } from './shared/target.ts';

export const targets: Record<Target, TargetBack> = {
  cpu: { text: cpuText, compiler: cmake },
  cuda: { text: cudaText, compiler: nvcc },
};
