/** What a request may set of a policy, its parameters or a ratio instead of its budget, checked against the plan. */
import type { Size } from '../../codegen/ir/nodes.ts';
import type { Plan } from '../../codegen/plan/types.ts';
import { RequestError } from './types.ts';

type Given = Readonly<Record<string, number>>;

/** The size of the policy's budget; undefined where none decides. */
export const budgetOf = ({ keep }: Pick<Plan, 'keep'>): Size | undefined =>
  'budget' in keep ? keep.budget : undefined;

/** What decides, in words, where there is no budget. */
export const decides: Readonly<Record<Exclude<Plan['keep']['kind'], 'topK' | 'chunks'>, string>> = {
  all: 'it keeps everything',
  above: 'a threshold decides',
  profile: 'each head takes a rule of its profile',
};

/** The parameter that a size names. */
export const paramOf = (size: Size | undefined): string | undefined =>
  size && 'param' in size ? size.param : undefined;

/** Every declared parameter's value. Throws RequestError for unknown names and values outside their range. */
export function valuesOf(plan: Plan, given: Given): Map<string, number> {
  for (const name of Object.keys(given))
    if (!plan.params.some((param) => param.name === name))
      throw new RequestError(
        `${plan.name} has no parameter ${name}; it has ${plan.params.map((param) => param.name).join(', ') || 'none'}.`,
        name,
      );
  const values = new Map<string, number>();
  for (const { name, kind, default: fallback, min, max } of plan.params) {
    const value = given[name] ?? fallback;
    const whole = kind !== 'tokens' || Number.isInteger(value);
    if (typeof value !== 'number' || !(value >= min && value <= max) || !whole)
      throw new RequestError(
        `${name} must be ${kind === 'tokens' ? 'a whole number' : 'a number'} from ${min} to ${max}; it is ${value}.`,
        name,
      );
    values.set(name, value);
  }
  return values;
}

/** Throws RequestError for a ratio that is none, or that would change nothing. */
export function checkRatio(plan: Plan, given: Given, ratio: number | undefined): void {
  if (ratio === undefined) return;
  if (!(ratio > 0 && ratio <= 1))
    throw new RequestError(`The ratio must be a number above 0, up to 1; it is ${ratio}.`, 'ratio');
  const { keep } = plan;
  if (!('budget' in keep))
    throw new RequestError(
      `${plan.name} has no budget that a ratio could stand in for: ${decides[keep.kind]}.`,
      'ratio',
    );
  const param = paramOf(keep.budget);
  if (param !== undefined && given[param] !== undefined)
    throw new RequestError(
      `A ratio of ${ratio} and ${param} ${given[param]} both say what to keep: give one.`,
      'ratio',
    );
}

/** The ratio that concerns a request: its own, or the server's where it sets no budget itself. */
export function ratioOf(plan: Plan, given: Given, own: number | undefined, server: number | undefined) {
  const budget = budgetOf(plan);
  if (own !== undefined || !budget) return own;
  const param = paramOf(budget);
  return param !== undefined && given[param] !== undefined ? undefined : server;
}
