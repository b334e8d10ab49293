/** Windows, observed queries and budgets: each has a size, and the budget has room for something to choose. */
import { MOST_TOKENS } from './check-numbers.ts';
import type { Collector } from './diagnostics.ts';
import { type Policy, type Size, place } from './nodes.ts';

/** Slots a size means by default; unknown for a fraction, which depends on the sequence. */
type Slots = number | 'fraction' | 'no size';

function slots(policy: Policy, size: Size): Slots {
  if ('tokens' in size)
    return Number.isInteger(size.tokens) && size.tokens >= 0 && size.tokens <= MOST_TOKENS ? size.tokens : 'no size';
  const param = policy.params.find((each) => each.name === size.param);
  if (!param || param.kind === 'number') return 'no size';
  return param.kind === 'tokens' ? param.default : param.default > 0 ? 'fraction' : 0;
}

const COUNTED = `It is counted in slots: a whole number up to ${MOST_TOKENS}, or a tokens or fraction parameter.`;

/** `incomplete`: something was mistaken, and a parameter may be missing for it. */
export function checkSizes(policy: Policy, errors: Collector, incomplete: boolean): void {
  const lost = (size: Size) => incomplete && 'param' in size && !policy.params.some((each) => each.name === size.param);
  const { window, keep, observe } = policy;
  const unsized = (size: Size) => slots(policy, size) === 'no size' && !lost(size);
  if (unsized(window.first) || unsized(window.last))
    errors.report(
      'wrong-type',
      place(policy, 'window'),
      `The window has no size. ${COUNTED}`,
      'window: { first: 4, last: 32 }',
    );
  if (typeof observe.prompt === 'object' && (unsized(observe.prompt.last) || slots(policy, observe.prompt.last) === 0))
    errors.report(
      'wrong-type',
      place(policy, 'observe'),
      `The last 0 queries, or none that can be counted. ${COUNTED}`,
      'observe: { last: 32 }',
    );
  if (keep.kind === 'profile' && keep.rules.some(({ top, last }) => unsized(top) || unsized(last)))
    errors.report('wrong-type', place(policy, 'keep'), `A rule has no size. ${COUNTED}`, "{ top: 64, last: 'recent' }");
  if (!('budget' in keep) && policy.layers.kind !== 'uniform')
    errors.report(
      'no-budget',
      place(policy, 'layers'),
      'Layers share out a budget, and nothing here has one.',
      'keep: topK(…) or chunks(…), or leave layers out',
    );
  if (
    !('budget' in keep) &&
    keep.kind !== 'all' &&
    policy.when.some((each) => each.kind === 'every' && each.n === 'auto')
  )
    errors.report(
      'no-budget',
      place(policy, 'when'),
      "every('auto') follows a budget and a ratio, and nothing here has one.",
      'when: every(16), or keep: topK(…)',
    );
  if (keep.kind === 'above' && !policy.score && !incomplete)
    errors.report('no-budget', place(policy, 'keep'), 'A threshold needs a score to compare.', 'score: (slot) => …');
  if ((keep.kind === 'above' || keep.kind === 'chunks') && policy.heads.kind === 'pooled')
    errors.report(
      'unsupported-on-target',
      place(policy, 'keep'),
      'Pooled heads share a budget: they need topK.',
      'keep: topK(…), or other heads',
    );
  if ('budget' in keep && !lost(keep.budget)) checkBudget(policy, keep, errors);
}

/** A budget is some slots, and more than the window that it counts. */
function checkBudget(policy: Policy, keep: Extract<Policy['keep'], { budget: Size }>, errors: Collector): void {
  const budget = slots(policy, keep.budget);
  if (budget === 'no size' || budget === 0)
    return errors.report(
      'no-budget',
      place(policy, 'keep'),
      `The budget must be a whole number of slots, 1 … ${MOST_TOKENS}, or a tokens or fraction parameter.`,
      "keep: topK('budget') with params: { budget: tokens(512) }",
    );
  if (keep.kind === 'chunks' && typeof budget === 'number' && keep.size > budget)
    return errors.report(
      'param-out-of-range',
      place(policy, 'keep'),
      `A chunk of ${keep.size} positions does not fit into a budget of ${budget}: whole chunks stay, so none would.`,
      'smaller chunks, or a larger budget',
    );
  if (typeof budget !== 'number' || keep.besides) return;
  const sizes = [slots(policy, policy.window.first), slots(policy, policy.window.last)];
  const protects = sizes.reduce((sum: number, part) => sum + (typeof part === 'number' ? part : 0), 0);
  if (protects > budget)
    errors.report(
      'window-exceeds-budget',
      place(policy, 'window'),
      `The window protects ${protects} slots, the budget is ${budget}.`,
      "protected slots count towards the budget: raise it, shrink the window, or keep it { besides: 'protected' }",
    );
}
