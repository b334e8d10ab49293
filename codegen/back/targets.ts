/** The targets, one entry each. */
import type { Target } from '../plan/types.ts';
import { cmake } from './cpu/cmake.ts';
import { nvcc } from './cuda/nvcc.ts';
import type { TargetBack } from './shared/target.ts';

export const targets: Record<Target, TargetBack> = {
  cpu: {
    text: { template: 'cpu/policy.cpp.hbs', source: 'policy.cpp', title: 'the CPU', common: [] },
    compiler: cmake,
  },
  cuda: {
    text: {
      template: 'cuda/policy.cu.hbs',
      source: 'policy.cu',
      title: 'CUDA',
      common: [{ template: 'cuda/attention.cu.hbs', source: 'attention.cu' }],
    },
    compiler: nvcc,
  },
};
