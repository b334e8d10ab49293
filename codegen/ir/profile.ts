/** What the rules of a profile are called, and which of them keep what others keep. */
import type { Profile, Rule, Size } from './nodes.ts';

const isNone = (size: Size): boolean => 'tokens' in size && size.tokens === 0;
const sizeName = (size: Size): string => ('param' in size ? size.param : String(size.tokens));

/** What a rule keeps besides the window, as explain, trace and metrics write it. */
function ruleName({ classes, top, last }: Rule): string {
  const parts = [
    ...classes,
    ...(isNone(top) ? [] : [`top ${sizeName(top)}`]),
    ...(isNone(last) ? [] : [`last ${sizeName(last)}`]),
  ];
  return parts.join(' + ') || 'the window';
}

/** Names of all rules, everything among them, by the number that a head takes. */
export const ruleNames = ({ rules }: Pick<Profile, 'rules'>): string[] => [...rules.map(ruleName), 'everything'];

/** Whether a size is at least another, whatever a request says. */
const reaches = (size: Size, other: Size): boolean =>
  isNone(other) ||
  ('tokens' in size && 'tokens' in other && size.tokens >= other.tokens) ||
  ('param' in size && 'param' in other && size.param === other.param);

/** Whether a rule keeps all that another keeps. The best of fewer slots are the best of all that are still among them. */
export const keepsAll = (rule: Rule, other: Rule): boolean =>
  other.classes.every((each) => rule.classes.includes(each)) &&
  reaches(rule.top, other.top) &&
  reaches(rule.last, other.last);
