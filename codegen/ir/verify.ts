/** What is legal after each stage. After lowering, mistakes are the author's; after simplify, they are ours. */
import { checkNames } from './check-names.ts';
import { checkNumbers } from './check-numbers.ts';
import { checkProfile } from './check-profile.ts';
import { checkSizes } from './check-sizes.ts';
import { checkTypes } from './check-types.ts';
import { checkUses } from './check-uses.ts';
import { type Collector, stage } from './diagnostics.ts';
import { type Policy, type Table, place } from './nodes.ts';

/** The author's mistakes that need the whole policy to see. */
export function verify(policy: Policy, gather?: Collector): Policy {
  return stage(gather, (errors) => {
    const incomplete = errors.any; // what a mistake took away would look unused, or missing
    checkNames(policy, errors);
    checkNumbers(policy, errors);
    checkSizes(policy, errors, incomplete);
    if (incomplete) return policy;
    if (policy.keep.kind === 'profile') checkProfile(policy, policy.keep, errors);
    checkUses(policy, errors);
    checkTables(policy, errors);
    checkTypes(policy, 'lower');
    return policy;
  });
}

/** After simplify: what is wrong now is a bug of the compiler. */
export function verifySimplified(policy: Policy): Policy {
  checkTypes(policy, 'simplify');
  return policy;
}

/** All tables are of one model. */
function checkTables(policy: Policy, errors: Collector): void {
  const [first, ...others] = policy.tables;
  const shape = ({ layers, heads }: Table) => `${layers} layers${heads ? ` of ${heads} KV heads` : ''}`;
  const factors = policy.layers.kind === 'table' ? policy.layers.factors.length : 0;
  for (const each of others)
    if (each.layers !== first.layers || (each.heads && first.heads && each.heads !== first.heads))
      errors.report(
        'table-shape',
        policy.span,
        `${first.name} has ${shape(first)}, ${each.name} ${shape(each)}: no model has both.`,
        'make the tables for one model',
      );
  if (first && factors && factors !== first.layers)
    errors.report(
      'table-shape',
      place(policy, 'layers'),
      `${first.name} has ${shape(first)}, layers ${factors} factors: no model has both.`,
      'make the tables for one model',
    );
}
