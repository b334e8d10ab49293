/** IR → C expressions over skv_… functions; the only printer of literals. */
import { builtin } from '../ir/builtins.ts';
import { isCommon } from '../ir/fields.ts';
import { type Node, type Type, tableKey } from '../ir/nodes.ts';
import { operands, walk } from '../ir/walk.ts';

/** An f32 literal that reads back as the same bits. */
export function literal(value: number): string {
  if (Number.isNaN(value)) return 'NAN';
  if (!Number.isFinite(value)) return value > 0 ? 'INFINITY' : '-INFINITY';
  if (Object.is(value, -0)) return '-0.0f';
  const short = Number(value.toPrecision(9)).toString();
  return `${/[.e]/.test(short) ? short : `${short}.0`}f`;
}

const cTypes: Record<Type, string> = { f32: 'float', bool: 'bool', vec: 'Vec' };
const infix = {
  add: '+',
  sub: '-',
  mul: '*',
  div: '/',
  lt: '<',
  le: '<=',
  gt: '>',
  ge: '>=',
  eq: '==',
  ne: '!=',
  and: '&&',
  or: '||',
};

export interface Names {
  /** index of each state and parameter in its array */
  readonly states: readonly string[];
  readonly params: readonly string[];
  /** by tableKey */
  readonly tables: readonly string[];
  /** path for #line, as the generated file shall show it */
  readonly file: string;
}

/** On CUDA sixteen lanes compute it together: outside any branch, which only some slots would take. */
const readsVectors = (node: Node): boolean => node.op === 'call' && node.args.some((arg) => arg.type === 'vec');

/** A choice that all slots make alike: of loops that branch on it, compilers make no vectors. Both sides are computed. */
const isOneForAll = ({ cond, then, else: other }: Node & { op: 'select' }): boolean =>
  isCommon(cond) && ![...walk(then), ...walk(other)].some((each) => each.type === 'vec' || readsVectors(each));

/** Statements that compute `node` and return it; subexpressions used more than once, vectors, and what is made of them, get a name. */
export function printReturn(node: Node, names: Names, result: (value: string) => string): string[] {
  const uses = new Map<Node, number>();
  for (const each of walk(node)) for (const operand of operands(each)) uses.set(operand, (uses.get(operand) ?? 0) + 1);
  const named = new Map<Node, string>();
  const lines: string[] = [];

  /** A vector that is one of two is a copy: of a slot's own it must be known while compiling which one it is. */
  const copied = (each: Node) => (each.type === 'vec' ? `Vec(${text(each)})` : text(each));
  const text = (each: Node): string => {
    const known = named.get(each);
    if (known) return known;
    switch (each.op) {
      case 'const':
        return each.type === 'bool' ? String(each.value) : literal(each.value as number);
      case 'slot':
        if (each.type === 'vec') return `(*slot.${each.field})`;
        return each.type === 'bool' ? `(slot.${each.field} != 0.0f)` : `slot.${each.field}`;
      case 'state':
        return `states[${names.states.indexOf(each.name)} /* ${each.name} */]`;
      case 'param':
        return `slot.params[${names.params.indexOf(each.name)} /* ${each.name} */]`;
      case 'across':
        return `across.${each.name}`;
      case 'table': {
        const { heads, name } = each.table;
        const at = heads ? `(int)slot.layer * ${heads} + (int)slot.head` : '(int)slot.layer';
        return `table_${names.tables.indexOf(tableKey(each.table))}[${at}] /* ${name} */`;
      }
      case 'unary':
        return each.fn === 'neg' ? `(-${text(each.a)})` : `(!${text(each.a)})`;
      case 'binary':
        return `(${text(each.a)} ${infix[each.fn]} ${text(each.b)})`;
      case 'select':
        if (isOneForAll(each)) return `skv_chosen(${text(each.cond)}, ${text(each.then)}, ${text(each.else)})`;
        return `(${text(each.cond)} ? ${copied(each.then)} : ${text(each.else)})`;
      case 'call': {
        const { target, args, result: type } = builtin(each.fn)!;
        const dim = type === 'vec' || args.includes('vec') ? ', slot.dim' : '';
        return `${target}(${each.args.map(text).join(', ')}${dim})`;
      }
    }
  };
  const place = (each: Node) => lines.push(`#line ${each.span.line} "${names.file}"`);
  for (const each of walk(node)) {
    const trivial = operands(each).length === 0;
    if (each === node || trivial || ((uses.get(each) ?? 0) < 2 && each.type !== 'vec' && !readsVectors(each))) continue;
    place(each);
    lines.push(`const ${cTypes[each.type]} t${named.size} = ${text(each)};`);
    named.set(each, `t${named.size}`);
  }
  place(node);
  lines.push(result(text(node)));
  return lines;
}
