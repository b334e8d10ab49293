/** What is accumulated, observed or declared for nothing: a field is obeyed or refused, never ignored. */
import type { Collector } from './diagnostics.ts';
import { fieldsOf } from './fields.ts';
import { type Policy, isOfPartition, lasting, place, writtenName } from './nodes.ts';
import { needed, paramsRead } from './uses.ts';
import { walk } from './walk.ts';

export function checkUses(policy: Policy, errors: Collector): void {
  checkParams(policy, errors);
  checkStates(policy, errors);
  checkOnce(policy, errors);
  checkObserved(policy, errors);
  if (policy.partitions && !policy.across.some(isOfPartition))
    errors.report(
      'partitions-unused',
      place(policy, 'partitions'),
      'Partitions are for statistics, and none is of one.',
      "softmax, rank, or max and min with partition: 'next'; or drop partitions",
    );
  checkFields(policy, errors);
}

/** Parameters that a request could set, to no effect. */
function checkParams(policy: Policy, errors: Collector): void {
  const read = paramsRead(policy);
  for (const { kind, name } of policy.params)
    if (!read.has(name))
      errors.report(
        'param-never-read',
        place(policy, `params.${name}`),
        `Nothing reads the parameter ${name}: a request could set it to no effect.`,
        kind === 'number'
          ? `slot.params.${name} in the score, or drop it`
          : `keep: topK('${name}'), slot.params.${name} in the score, or drop it`,
      );
}

/** States and statistics that nothing reads. */
function checkStates(policy: Policy, errors: Collector): void {
  const { states, across } = needed(policy);
  const unread = policy.states.filter(({ name }) => !states.has(name)).map(writtenName);
  for (const name of new Set(unread))
    errors.report(
      'state-never-read',
      place(policy, `accumulate.${name}`),
      `Nothing that the score depends on reads ${name}.`,
      `score: (slot) => slot.${name}, or drop it`,
    );
  for (const { name } of policy.across)
    if (!across.has(name))
      errors.report(
        'field-unused',
        place(policy, `across.${name}`),
        `Nothing that the score depends on reads ${name}.`,
        `score: (slot, across) => across.${name}, or drop it`,
      );
}

/** What is computed once reads nothing that changes. */
function checkOnce({ states }: Policy, errors: Collector): void {
  for (const { name, next, once } of states)
    for (const node of once ? walk(next) : []) {
      if (node.op !== 'state' && node.op !== 'param' && (node.op !== 'slot' || lasting.has(node.field))) continue;
      const read =
        node.op === 'slot'
          ? `slot.${node.field}`
          : node.op === 'param'
            ? `slot.params.${node.name}`
            : `slot.${node.name}`;
      errors.report(
        'once-reads',
        node.span,
        `${name} is computed when its slot is appended, and ${read} may be another number later.`,
        `read ${[...lasting].join(', ')}, or read ${read} in the score`,
      );
    }
}

/** Observed queries and states need each other. */
function checkObserved(policy: Policy, errors: Collector): void {
  const observes = policy.observe.prompt !== 'none' || policy.observe.decode;
  const advanced = policy.states.some(({ once }) => !once);
  if (advanced && !observes)
    errors.report(
      'state-never-observed',
      place(policy, 'accumulate'),
      '`next` runs once per observed query, and no query is observed.',
      "observe: 'every', or { last: 32 } for the end of the prompt",
    );
  if (observes && !advanced)
    errors.report(
      'observe-unused',
      place(policy, 'observe'),
      'Queries are observed, but no state accumulates what they see.',
      'add accumulate, or drop observe',
    );
}

/** Fields of what is chosen and thrown away: beside `everything` none of them means anything. */
const choosing = ['score', 'across', 'accumulate', 'observe', 'pool', 'heads', 'window', 'when', 'positions'];

/** Fields that mean nothing beside the others. */
function checkFields(policy: Policy, errors: Collector): void {
  const { at, keep, window, states, group } = policy;
  const unused = (field: string, message: string, hint: string) =>
    errors.report('field-unused', place(policy, field), message, hint);
  const seen =
    fieldsOf(states.map(({ next }) => next)).has('attn') || (group === 'none' && states.some(({ once }) => !once));
  if (at.group && !seen)
    unused('group', 'group is how attention is combined, and no state reads slot.attn.', 'leave group out');
  if (keep.kind === 'all') {
    for (const field of choosing.filter((name) => at[name]))
      unused(field, `Everything is kept: ${field} has nothing to choose.`, `leave ${field} out, or keep: topK(…)`);
    return;
  }
  if (keep.kind === 'profile' && keep.rules.every(({ top }) => 'tokens' in top && top.tokens === 0))
    for (const field of ['score', 'pool'].filter((name) => at[name]))
      unused(
        field,
        'No rule of the profile keeps the best of anything.',
        `{ top: 64 } in a rule, or leave ${field} out`,
      );
  if (keep.kind === 'profile' && window.prompt)
    unused(
      'window',
      'The window keeps the whole prompt, so that each head would take the first rule: nothing is left to choose by.',
      'window: { first: 4 }, or keep: topK(…)',
    );
  const none = (size: typeof window.first) => 'tokens' in size && size.tokens === 0;
  if ('besides' in keep && none(window.first) && none(window.last) && !window.prompt && window.classes.length === 0)
    unused(
      'keep',
      'Nothing is protected that a budget could leave out.',
      "window: { prompt: true }, or leave { besides: 'protected' } out",
    );
}
