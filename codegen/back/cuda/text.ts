/** CUDA's text: what policy.cu.hbs shows of statistics over slots. */
import type { TargetText } from '../shared/target.ts';

/** On CUDA the block reduces the values of a page's slots from shared memory, whatever they are: see across.cuh. */
export const cudaText: TargetText = {
  template: 'cuda/policy.cu.hbs',
  source: 'policy.cu',
  title: 'CUDA',
  put: (_, index, value) => `put(${index}, ${value});`,
  statistic: ({ name, of }, index) => ({
    load: `a.${name} = totals.${of.type === 'vec' ? 'vector' : 'scalar'}(${index});`,
  }),
};
