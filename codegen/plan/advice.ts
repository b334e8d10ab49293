/** What a policy's author should know although it is legal: a window that can leave its budget nothing to choose. */
import type { Size } from '../ir/nodes.ts';
import type { Plan } from './types.ts';

const AWAY = "let it count the other slots alone: topK(…, { besides: 'protected' })";

/** Whether it compacts while tokens are generated, and not while a prompt is read alone. */
export const compactsLater = ({ when }: Pick<Plan, 'when'>): boolean =>
  when.some(({ kind }) => kind === 'over' || kind === 'every');

/** Sentences, none for most policies. */
export function advice(plan: Pick<Plan, 'keep' | 'window' | 'params' | 'when'>): string[] {
  const { keep, window, params } = plan;
  if (keep.kind !== 'all' && window.prompt && !compactsLater(plan))
    return [
      'The window protects the whole prompt, and there is no compaction after its end: nothing is ever evicted. Compact later too, with every(n) or over(slack).',
    ];
  if (!('budget' in keep) || keep.besides) return [];
  /** the default of a size, and whether it is a part of the length */
  const of = (size: Size) => {
    const param = 'param' in size ? params.find(({ name }) => name === size.param) : undefined;
    const value = 'tokens' in size ? size.tokens : param!.default;
    return { value, part: param?.kind === 'fraction' };
  };
  const budget = of(keep.budget);
  const said = budget.part ? `${100 * budget.value} % of the sequence` : `${budget.value} slots`;
  const found: string[] = [];
  if (window.prompt)
    found.push(
      budget.part
        ? `The window protects the whole prompt, and the budget of ${said} counts it: while the prompt is more than that, nothing that is generated is kept beyond the window. You may ${AWAY}.`
        : `The window protects the whole prompt, and the budget of ${said} counts it: after a prompt of ${budget.value} tokens or more nothing that is generated is kept beyond the window. Raise the budget, or ${AWAY}.`,
    );
  if (window.classes.length)
    found.push(
      `The window protects every ${window.classes.join(' and ')} token, and the budget of ${said} counts them: a text with so many leaves it nothing to choose. You may ${AWAY}.`,
    );
  const [first, last] = [of(window.first), of(window.last)];
  if (budget.part && !first.part && !last.part && first.value + last.value > 0)
    found.push(
      `The window of ${first.value + last.value} slots is more than the budget of ${said} until ${Math.ceil((first.value + last.value) / budget.value)} tokens are known: up to there nothing else is kept. You may ${AWAY}.`,
    );
  return found;
}
