/** Which expressions a policy has, and what its score depends on. */
import { paramsOf } from './fields.ts';
import { type Count, type Node, type Policy, type Size, type Table, tableKey, writtenName } from './nodes.ts';
import { walk } from './walk.ts';

/** Every expression of a policy, with the name of the function it came from. */
export function expressions(policy: Policy): [string, Node][] {
  return [
    ...policy.states.map((state): [string, Node] => [`next ${state.name}`, state.next]),
    ...policy.across.flatMap(({ name, n, of }) =>
      (n ? [n, of] : [of]).map((node): [string, Node] => [`across ${name}`, node]),
    ),
    ...(policy.score ? [['score', policy.score] as [string, Node]] : []),
    ...(policy.keep.kind === 'above' ? [['above', policy.keep.threshold] as [string, Node]] : []),
    ...(policy.keep.kind === 'profile' ? [['profile', policy.keep.reach] as [string, Node]] : []),
  ];
}

/** Tables of constants that a policy reads, each once. */
export function tablesOf(policy: Policy): Table[] {
  const found = new Map<string, Table>();
  for (const [, root] of expressions(policy))
    for (const node of walk(root)) if (node.op === 'table') found.set(tableKey(node.table), node.table);
  return [...found.values()];
}

/** Names of the parameters that something reads: an expression, a size, a trigger or a partition. */
export function paramsRead(policy: Policy): Set<string> {
  const { keep, window, observe, when, partitions, states } = policy;
  const sizes: (Size | Count)[] = [window.first, window.last];
  if ('budget' in keep) sizes.push(keep.budget);
  if (keep.kind === 'profile') for (const { top, last } of keep.rules) sizes.push(top, last);
  if (typeof observe.prompt === 'object') sizes.push(observe.prompt.last);
  for (const trigger of when) {
    if (trigger.kind === 'over') sizes.push(trigger.slack);
    if (trigger.kind === 'promptChunk') sizes.push(trigger.n);
  }
  const counts = [partitions?.first, partitions?.size, ...states.map(({ history }) => history?.last)];
  const nodes = [...expressions(policy).map(([, node]) => node), ...counts.filter((node) => node !== undefined)];
  const named = sizes.flatMap((size) => (typeof size === 'object' && 'param' in size ? [size.param] : []));
  return new Set([...named, ...paramsOf(nodes)]);
}

/** States and statistics that the score, or a profile, depends on, directly or through others. */
export function needed(policy: Policy): { states: ReadonlySet<string>; across: ReadonlySet<string> } {
  const states = new Set<string>();
  const across = new Set<string>();
  const read = (name: string): void => {
    if (states.has(name)) return;
    states.add(name);
    visit(policy.states.find((state) => state.name === name)?.next);
  };
  const visit = (node: Node | undefined): void => {
    for (const each of node ? walk(node) : []) {
      if (each.op === 'state') read(each.name);
      else if (each.op === 'across' && !across.has(each.name)) {
        across.add(each.name);
        visit(policy.across.find((statistic) => statistic.name === each.name)?.of);
      }
    }
  };
  visit(policy.score);
  const { keep } = policy;
  if (keep.kind === 'profile')
    for (const state of policy.states) if (writtenName(state) === keep.mass) read(state.name);
  return { states, across };
}
