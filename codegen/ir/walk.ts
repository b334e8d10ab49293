/** Moving over expressions. */
import type { Node } from './nodes.ts';

export function operands(node: Node): readonly Node[] {
  switch (node.op) {
    case 'unary':
      return [node.a];
    case 'binary':
      return [node.a, node.b];
    case 'select':
      return [node.cond, node.then, node.else];
    case 'call':
      return node.args;
    default:
      return [];
  }
}

/** The node with other operands, in the order of `operands`. */
export function withOperands(node: Node, next: readonly Node[]): Node {
  switch (node.op) {
    case 'unary':
      return { ...node, a: next[0] };
    case 'binary':
      return { ...node, a: next[0], b: next[1] };
    case 'select':
      // biome-ignore lint/suspicious/noThenProperty: the IR's word
      return { ...node, cond: next[0], then: next[1], else: next[2] };
    case 'call':
      return { ...node, args: next };
    default:
      return node;
  }
}

/** Every node of an expression once, operands before users. */
export function* walk(node: Node, seen = new Set<Node>()): Generator<Node> {
  if (seen.has(node)) return;
  seen.add(node);
  for (const operand of operands(node)) yield* walk(operand, seen);
  yield node;
}
