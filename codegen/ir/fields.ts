/** What expressions read. */
import { type Node, type SlotField, type State, common } from './nodes.ts';
import { walk } from './walk.ts';

/** Fields of the slot. */
export function fieldsOf(nodes: readonly Node[]): Set<SlotField> {
  const found = new Set<SlotField>();
  for (const node of nodes) for (const each of walk(node)) if (each.op === 'slot') found.add(each.field);
  return found;
}

/** Whether it is the same for all slots of a head. Statistics would be too, but those that are a number of each slot. */
export const isCommon = (node: Node): boolean =>
  [...walk(node)].every((each) =>
    each.op === 'slot' ? common.has(each.field) : each.op !== 'state' && each.op !== 'across',
  );

/**
 * For each state what says, of all slots alike, whether a query changes it; absent where it always may. None where states
 * read each other: each must see the others as they were.
 */
export function guardsOf(states: readonly State[]): (Node | undefined)[] {
  const apart = states.every(({ name, next }) =>
    [...walk(next)].every((each) => each.op !== 'state' || each.name === name),
  );
  return states.map(({ name, next, once }) => {
    if (!apart || once || next.op !== 'select' || !isCommon(next.cond)) return undefined;
    return next.else.op === 'state' && next.else.name === name ? next.cond : undefined;
  });
}

/** Parameters, by name. */
export function paramsOf(nodes: readonly Node[]): Set<string> {
  const found = new Set<string>();
  for (const node of nodes) for (const each of walk(node)) if (each.op === 'param') found.add(each.name);
  return found;
}

/** Everything that an expression reads, as the author writes it without `slot.`: each once, in the order of reading. */
export function readsOf(node: Node): string[] {
  const found = new Set<string>();
  for (const each of walk(node)) {
    if (each.op === 'slot') found.add(each.field);
    if (each.op === 'state') found.add(each.name);
    if (each.op === 'param') found.add(`params.${each.name}`);
    if (each.op === 'across') found.add(`across.${each.name}`);
    if (each.op === 'table') found.add(each.table.name);
  }
  return [...found];
}
