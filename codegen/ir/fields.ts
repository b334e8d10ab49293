/** What expressions read. */
import type { Node, SlotField } from './nodes.ts';
import { walk } from './walk.ts';

/** Fields of the slot. */
export function fieldsOf(nodes: readonly Node[]): Set<SlotField> {
  const found = new Set<SlotField>();
  for (const node of nodes) for (const each of walk(node)) if (each.op === 'slot') found.add(each.field);
  return found;
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
