/** Which fields of the slot expressions read. */
import type { Node, SlotField } from './nodes.ts';
import { walk } from './walk.ts';

export function fieldsOf(nodes: readonly Node[]): Set<SlotField> {
  const found = new Set<SlotField>();
  for (const node of nodes) for (const each of walk(node)) if (each.op === 'slot') found.add(each.field);
  return found;
}
