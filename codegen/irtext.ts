/** The IR as text: what `skv explain --ir` prints and what goldens hold. */
import type { Node, Policy, Size } from './ir.ts';

const size = (value: Size): string => ('param' in value ? value.param : String(value.tokens));

export function expression(node: Node): string {
  switch (node.op) {
    case 'const':
      return Object.is(node.value, -0) ? '-0' : String(node.value);
    case 'slot':
      return `slot.${node.field}`;
    case 'state':
      return node.name;
    case 'param':
      return `$${node.name}`;
    case 'across':
      return `across.${node.name}`;
    case 'unary':
      return `(${node.fn} ${expression(node.a)})`;
    case 'binary':
      return `(${node.fn} ${expression(node.a)} ${expression(node.b)})`;
    case 'select':
      return `(select ${expression(node.cond)} ${expression(node.then)} ${expression(node.else)})`;
    case 'call':
      return `(${node.fn} ${node.args.map(expression).join(' ')})`;
  }
}

export function irText(policy: Policy): string {
  const { observe, keep, window, heads, layers } = policy;
  const lines = [`policy ${policy.name}`];
  for (const param of policy.params)
    lines.push(`param ${param.name}: ${param.kind} = ${param.default} in ${param.min} … ${param.max}`);
  if (observe.prompt !== 'none' || observe.decode)
    lines.push(
      `observe prompt ${typeof observe.prompt === 'object' ? `last ${size(observe.prompt.last)}` : observe.prompt}, decode ${observe.decode}; group ${policy.group}`,
    );
  for (const state of policy.states)
    lines.push(`state ${state.name} = ${state.init}`, `  next ${expression(state.next)}`);
  for (const each of policy.across) lines.push(`across ${each.name} = ${each.reduce} ${expression(each.of)}`);
  lines.push(`score ${policy.score ? expression(policy.score) : 'slot.pos'}`);
  if (policy.pool) lines.push(`pool ${policy.pool.kind} ${policy.pool.width}`);
  lines.push(`heads ${heads.kind}${heads.kind === 'pooled' ? ` ${heads.alpha}` : ''}`);
  lines.push(
    `layers ${layers.kind}${layers.kind === 'pyramid' ? ` ${layers.beta}` : layers.kind === 'table' ? ` ${layers.factors.join(' ')}` : ''}`,
  );
  lines.push(
    `window first ${size(window.first)}, last ${size(window.last)}${window.prompt ? ', prompt' : ''}${window.classes.map((name) => `, ${name}`).join('')}`,
  );
  lines.push(
    `keep ${keep.kind}${keep.kind === 'topK' ? ` ${size(keep.budget)}` : keep.kind === 'chunks' ? ` ${keep.size} ${size(keep.budget)}` : keep.kind === 'above' ? ` ${expression(keep.threshold)}` : ''}`,
  );
  lines.push(
    `when ${policy.when.map((trigger) => `${trigger.kind}${'n' in trigger ? ` ${trigger.n}` : 'slack' in trigger ? ` ${trigger.slack}` : ''}`).join(', ') || 'never'}`,
  );
  lines.push(`positions ${policy.positions}`);
  return `${lines.join('\n')}\n`;
}
