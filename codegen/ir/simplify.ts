/** Folds constants, drops what changes nothing, shares equal subexpressions. No value changes, NaN and -0 included. */
import { apply } from './interpret.ts';
import { type Node, type Policy, tableKey } from './nodes.ts';
import { needed } from './uses.ts';
import { operands, withOperands } from './walk.ts';

/** Names a node by its content: equal keys have equal values. */
class Sharing {
  private readonly keys = new Map<string, Node>();
  private readonly ids = new Map<Node, number>();

  share(node: Node): Node {
    const key = this.key(node);
    const known = this.keys.get(key);
    if (known) return known;
    this.keys.set(key, node);
    this.ids.set(node, this.ids.size);
    return node;
  }

  private key(node: Node): string {
    const from = operands(node).map((operand) => this.ids.get(operand));
    switch (node.op) {
      case 'const':
        return `const ${Object.is(node.value, -0) ? '-0' : node.value}`;
      case 'slot':
        return `slot ${node.field}`;
      case 'unary':
      case 'binary':
      case 'call':
        return `${node.fn} ${from}`;
      case 'select':
        return `select ${from}`;
      case 'table':
        return `table ${tableKey(node.table)}`;
      default:
        return `${node.op} ${node.name}`;
    }
  }
}

const isConst = (node: Node, value?: number | boolean): boolean =>
  node.op === 'const' && (value === undefined || Object.is(node.value, value));

/** One node whose operands are simple already. */
function reduce(node: Node): Node {
  const parts = operands(node);
  if (parts.length && node.type !== 'vec' && parts.every((part) => part.op === 'const')) {
    const value = apply(
      node,
      parts.map((part) => (part as { value: number | boolean }).value),
    ) as number | boolean;
    return { op: 'const', type: node.type as 'f32' | 'bool', value, span: node.span };
  }
  if (node.op === 'select') {
    if (isConst(node.cond, true) || node.then === node.else) return node.then;
    if (isConst(node.cond, false)) return node.else;
    if (node.cond.op === 'unary') return withOperands(node, [node.cond.a, node.else, node.then]);
  }
  if (node.op === 'unary' && node.a.op === 'unary' && node.a.fn === node.fn) return node.a.a;
  if (node.op === 'binary') {
    const { fn, a, b } = node;
    if (fn === 'mul' && isConst(b, 1)) return a;
    if (fn === 'mul' && isConst(a, 1)) return b;
    if (fn === 'div' && isConst(b, 1)) return a;
    if (fn === 'sub' && isConst(b, 0)) return a;
    if (fn === 'and') {
      if (isConst(a, false) || isConst(b, true) || a === b) return a;
      if (isConst(b, false) || isConst(a, true)) return b;
    }
    if (fn === 'or') {
      if (isConst(a, true) || isConst(b, false) || a === b) return a;
      if (isConst(b, true) || isConst(a, false)) return b;
    }
  }
  return node;
}

export function simplifyNode(node: Node, sharing = new Sharing(), done = new Map<Node, Node>()): Node {
  const known = done.get(node);
  if (known) return known;
  const parts = operands(node).map((part) => simplifyNode(part, sharing, done));
  let simple = reduce(withOperands(node, parts));
  if (simple.op !== 'const' && simple !== node && !parts.includes(simple)) simple = reduce(simple);
  const shared = sharing.share(simple);
  done.set(node, shared);
  return shared;
}

export function simplify(policy: Policy): Policy {
  const simple: Policy = {
    ...policy,
    states: policy.states.map((state) => ({ ...state, next: simplifyNode(state.next) })),
    across: policy.across.map((each) => ({ ...each, of: simplifyNode(each.of) })),
    score: policy.score && simplifyNode(policy.score),
  };
  // states stay, although folding may have removed the last use of one: a page's lanes are what the author declared
  const { across } = needed(simple);
  return { ...simple, across: simple.across.filter((each) => across.has(each.name)) };
}
