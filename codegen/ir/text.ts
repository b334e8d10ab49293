/** The IR as text: what `skv explain --ir` prints and what goldens hold. */
import type { Node, Policy, Size, Trigger } from './nodes.ts';
import { ruleNames } from './profile.ts';
import { tablesOf } from './uses.ts';
import { operands, walk } from './walk.ts';

const size = (value: Size): string => ('param' in value ? value.param : String(value.tokens));

/** An expression in prefix form; parts used more than once come first, as %0, %1 … */
function expression(root: Node): { shared: string[]; value: string } {
  const uses = new Map<Node, number>();
  for (const node of walk(root)) for (const part of operands(node)) uses.set(part, (uses.get(part) ?? 0) + 1);
  const names = new Map<Node, string>();
  const shared: string[] = [];
  const text = (node: Node): string => names.get(node) ?? plain(node);
  const plain = (node: Node): string => {
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
      case 'table':
        return `${node.table.name}[layer]${node.table.heads ? '[head]' : ''}`;
      default:
        return `(${['fn' in node ? node.fn : node.op, ...operands(node).map(text)].join(' ')})`;
    }
  };
  for (const node of walk(root)) {
    if (operands(node).length === 0 || (uses.get(node) ?? 0) < 2) continue;
    shared.push(`  %${names.size} = ${plain(node)}`);
    names.set(node, `%${names.size}`);
  }
  return { shared, value: text(root) };
}

const count = (n: number | string | { readonly param: string }): string =>
  typeof n === 'object' ? n.param : String(n);

const trigger = (each: Trigger): string =>
  `${each.kind}${'n' in each ? ` ${count(each.n)}` : 'slack' in each ? ` ${count(each.slack)}` : ''}`;

/** The same text for the same policy, always: a stage that changes nothing leaves it as it was. */
export function irText(policy: Policy): string {
  const { observe, keep, window, heads, layers, pool } = policy;
  const lines = [`policy ${policy.name}`];
  const add = (head: string, node: Node) => {
    const { shared, value } = expression(node);
    lines.push(...shared, `${head} ${value}`);
  };
  for (const param of policy.params)
    lines.push(`param ${param.name}: ${param.kind} = ${param.default} in ${param.min} … ${param.max}`);
  if (observe.prompt !== 'none' || observe.decode) {
    const prompt = typeof observe.prompt === 'object' ? `last ${size(observe.prompt.last)}` : observe.prompt;
    lines.push(`observe prompt ${prompt}, decode ${observe.decode}; group ${policy.group}`);
  }
  for (const { name, layers, heads } of tablesOf(policy))
    lines.push(`table ${name}: ${layers} layers${heads ? ` × ${heads} KV heads` : ''}`);
  for (const { name, init, once, next } of policy.states)
    add(`state ${name} ${once ? 'once' : `from ${init} next`}`, next);
  const { partitions } = policy;
  if (partitions)
    lines.push(`partitions of ${expression(partitions.size).value} from ${expression(partitions.first).value}`);
  for (const { name, reduce, n, partition, of } of policy.across)
    add(`across ${name} = ${reduce}${n ? ` ${expression(n).value}` : ''}${partition ? ` ${partition}` : ''}`, of);
  if (policy.score) add('score', policy.score);
  else lines.push('score slot.pos');
  if (pool) lines.push(`pool ${pool.kind} ${pool.width}`);
  lines.push(
    heads.kind === 'pooled'
      ? `heads pooled ${heads.guaranteed ? 'guaranteed ' : ''}${heads.alpha}`
      : `heads ${heads.kind}`,
  );
  if (layers.kind === 'pyramid') lines.push(`layers pyramid ${layers.beta}`);
  else lines.push(layers.kind === 'table' ? `layers ${layers.factors.join(' ')}` : 'layers uniform');
  const also = [...(window.prompt ? ['prompt'] : []), ...window.classes];
  lines.push([`window first ${size(window.first)}`, `last ${size(window.last)}`, ...also].join(', '));
  if (keep.kind === 'above') add('keep above', keep.threshold);
  else if (keep.kind === 'all') lines.push('keep all');
  else if (keep.kind === 'profile') {
    add(`keep profile of ${keep.mass} reach`, keep.reach);
    lines.push(...ruleNames(keep).map((name) => `  rule ${name}`));
  } else {
    const rule = keep.kind === 'topK' ? 'topK' : `chunks ${keep.size}`;
    lines.push(`keep ${rule} ${size(keep.budget)}${keep.besides ? ' besides protected' : ''}`);
  }
  lines.push(`when ${policy.when.map(trigger).join(', ') || 'never'}`);
  lines.push(`positions ${policy.positions}`, `store ${policy.store}`, `place ${policy.place}`);
  return `${lines.join('\n')}\n`;
}
