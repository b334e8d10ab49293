/** The CPU's text: what policy.cpp.hbs shows of statistics over slots. */
import type { Across } from '../../ir/nodes.ts';
import type { TargetText } from '../shared/target.ts';

const summed = ({ reduce }: Across) => reduce === 'mean' || reduce === 'sum';

/** On the CPU a slot's value goes to its lane of the page, or into the extreme so far. */
export const cpuText: TargetText = {
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
