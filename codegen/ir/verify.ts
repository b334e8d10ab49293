/** What is legal after each stage. After lowering, mistakes are the author's; after simplify, they are ours. */
import { checkNames } from './check-names.ts';
import { checkNumbers } from './check-numbers.ts';
import { checkProfile } from './check-profile.ts';
import { checkSizes } from './check-sizes.ts';
import { checkTypes } from './check-types.ts';
import { type Collector, stage } from './diagnostics.ts';
import { type Policy, type Table, isOfPartition, place, writtenName } from './nodes.ts';
import { needed } from './uses.ts';

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

/** What is accumulated or observed for nothing. */
function checkUses(policy: Policy, errors: Collector): void {
  const { states } = needed(policy);
  const unread = policy.states.filter(({ name }) => !states.has(name)).map(writtenName);
  for (const name of new Set(unread))
    errors.report(
      'state-never-read',
      place(policy, `accumulate.${name}`),
      `Nothing that the score depends on reads ${name}.`,
      `score: (slot) => slot.${name}, or drop it`,
    );
  if (policy.partitions && !policy.across.some(isOfPartition))
    errors.report(
      'partitions-unused',
      place(policy, 'partitions'),
      'Partitions are for statistics, and none is of one.',
      "softmax, rank, or max and min with partition: 'next'; or drop partitions",
    );
  const observes = policy.observe.prompt !== 'none' || policy.observe.decode;
  if (policy.states.length && !observes)
    errors.report(
      'state-never-observed',
      place(policy, 'accumulate'),
      '`next` runs once per observed query, and no query is observed.',
      "observe: 'every', or { last: 32 } for the end of the prompt",
    );
  if (observes && !policy.states.length)
    errors.report(
      'observe-unused',
      place(policy, 'observe'),
      'Queries are observed, but no state accumulates what they see.',
      'add accumulate, or drop observe',
    );
}
