/** The cost formulas of a plan's passes, as numbers. */
import type { Pass, Plan } from './types.ts';

/** A sum of products over d (head size), g (query group), b (bytes of an element) and s (states), such as `2*d*b + 4*g`. */
export function cost(formula: string, values: { d: number; g: number; b: number; s: number }): number {
  const factor = (text: string) => values[text.trim() as 'd'] ?? Number(text);
  return formula
    .split('+')
    .reduce((sum, term) => sum + term.split('*').reduce((product, text) => product * factor(text), 1), 0);
}

/** What one pass costs at a shape and a length. */
export interface Cost extends Pass {
  readonly bytesPerSlot: number;
  readonly flopsPerSlot: number;
  /** of one KV head that it touches when it runs, and how often that is, in words */
  readonly slots: number;
  readonly per: string;
  /** over all layers and heads, each time it runs */
  readonly total: { readonly bytes: number; readonly flops: number };
}

/** Slots of a head: of the whole sequence, live after a compaction, live before one. */
interface Slots {
  readonly length: number;
  readonly live: number;
  readonly before: number;
}

/** Slots of a head that a compaction moves, at most. */
export const movedSlots = ({ ordered }: Plan, before: number, live: number): number =>
  ordered ? live : Math.min(live, before - live);

function touched(plan: Plan, pass: Pass['name'], { length, live, before }: Slots): [slots: number, per: string] {
  if (pass === 'observe') return [length / 2, 'a prompt token, on average'];
  if (pass === 'profile') return [length, 'a prompt'];
  if (pass === 'select') return [before, 'a compaction'];
  if (pass === 'compact') return [movedSlots(plan, before, live), 'a compaction'];
  return [pass === 'append' ? 1 : live, 'a generated token'];
}

/** The passes of a plan at a model's shape. */
export function costsOf(
  plan: Plan,
  shape: { d: number; g: number; b: number; layers: number; kvHeads: number },
  slots: Slots,
): Cost[] {
  return plan.passes.map((pass) => {
    const [bytesPerSlot, flopsPerSlot] = [pass.bytes, pass.flops].map((each) =>
      cost(each, { ...shape, s: plan.states.length }),
    );
    const [count, per] = touched(plan, pass.name, slots);
    const heads = count * shape.layers * shape.kvHeads;
    const total = { bytes: heads * bytesPerSlot, flops: heads * flopsPerSlot };
    return { ...pass, bytesPerSlot, flopsPerSlot, slots: count, per, total };
  });
}
