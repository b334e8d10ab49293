/** Well-formedness of expressions. */
import { builtin } from './builtins.ts';
import { InternalError } from './diagnostics.ts';
import { type Node, type Policy, typeOfField } from './nodes.ts';
import { expressions } from './uses.ts';
import { walk } from './walk.ts';

/** Well-formedness that no author can break: names that exist, types of operands, known builtins. */
export function checkTypes(policy: Policy, after: string): void {
  const params = new Set(policy.params.map((param) => param.name));
  const states = new Set(policy.states.map((state) => state.name));
  const across = new Map(policy.across.map((each) => [each.name, each.of.type]));
  const sound = (node: Node): boolean => {
    switch (node.op) {
      case 'const':
        return node.type === 'bool'
          ? typeof node.value === 'boolean'
          : Object.is(Math.fround(node.value as number), node.value);
      case 'slot':
        return typeOfField(node.field) === node.type;
      case 'state':
        return states.has(node.name);
      case 'param':
        return params.has(node.name);
      case 'table':
        return node.table.values.length === node.table.layers * Math.max(1, node.table.heads);
      case 'across':
        return across.get(node.name) === node.type;
      case 'unary':
        return node.type === (node.fn === 'neg' ? 'f32' : 'bool') && node.a.type === node.type;
      case 'binary': {
        const logical = node.fn === 'and' || node.fn === 'or';
        const arithmetic = ['add', 'sub', 'mul', 'div'].includes(node.fn);
        const from = logical ? 'bool' : 'f32';
        return node.a.type === from && node.b.type === from && node.type === (arithmetic ? 'f32' : 'bool');
      }
      case 'select':
        return node.cond.type === 'bool' && node.then.type === node.type && node.else.type === node.type;
      case 'call': {
        const known = builtin(node.fn);
        return known?.result === node.type && known.args.every((type, i) => node.args[i]?.type === type);
      }
    }
  };
  for (const [from, root] of expressions(policy))
    for (const node of walk(root))
      if (!sound(node))
        throw new InternalError(
          `verify failed after ${after}: ${node.op} in ${from} of ${policy.name}, line ${node.span.line}`,
        );
}
