/** What a target's generated text is: its template, its file, and how its statistics over slots are written. */
import type { Across } from './ir.ts';
import type { Target } from './plan-types.ts';

export interface TargetText {
  /** below templates/ */
  readonly template: string;
  /** the generated file */
  readonly source: string;
  /** in its first line */
  readonly title: string;
  /** statement that stores a slot's value of the i-th statistic */
  put(across: Across, index: number, value: string): string;
  /** what else the template shows of the i-th statistic */
  statistic(across: Across, index: number): Readonly<Record<string, string | boolean>>;
}

const summed = ({ reduce }: Across) => reduce === 'mean' || reduce === 'sum';

/** On the CPU a slot's value goes to its lane of the page, or into the extreme so far. */
const cpu: TargetText = {
  template: 'cpu/policy.cpp.hbs',
  source: 'policy.cpp',
  title: 'the CPU',
  put(across, _, value) {
    const { name, reduce, of } = across;
    if (summed(across) && of.type === 'vec') return `set_vec(&a->${name}_lane[lane], ${value}, slot.dim);`;
    if (summed(across)) return `a->${name}_lane[lane] = ${value};`;
    const pick = reduce === 'max' ? 'skv_max' : 'skv_min';
    if (of.type === 'f32') return `a->${name} = ${pick}(a->${name}, ${value});`;
    return `const Vec value = ${value};\n      for (int d = 0; d < slot.dim; d++) a->${name}.at[d] = ${pick}(a->${name}.at[d], value.at[d]);`;
  },
  statistic(across) {
    const { name, reduce, of } = across;
    const vector = of.type === 'vec';
    const start = summed(across) ? '0.0f' : reduce === 'max' ? '-INFINITY' : 'INFINITY';
    const each = (statement: (element: string) => string) =>
      vector ? `for (int d = 0; d < dim; d++) { ${statement(`a->${name}.at[d]`)} }` : statement(`a->${name}`);
    return {
      summed: summed(across),
      begin: each((at) => `${at} = ${start};`),
      pageEnd: summed(across) ? `add_tree(&a->${name}, a->${name}_lane, slots, dim);` : '',
      end: reduce === 'mean' ? each((at) => `${at} = ${at} / (float)live;`) : '',
    };
  },
};

/** On CUDA the block reduces the values of a page's slots from shared memory, whatever they are: see across.cuh. */
const cuda: TargetText = {
  template: 'cuda/policy.cu.hbs',
  source: 'policy.cu',
  title: 'CUDA',
  put: (_, index, value) => `put(${index}, ${value});`,
  statistic: ({ name, of }, index) => ({
    load: `a.${name} = totals.${of.type === 'vec' ? 'vector' : 'scalar'}(${index});`,
  }),
};

export const targets: Record<Target, TargetText> = { cpu, cuda };
