/** Numbers that have a range of their own. */
import { MAX_PARAMS } from '../../runtime/contract/records.ts';
import type { Collector } from './diagnostics.ts';
import { BUCKETS, type Count, type Node, type Policy, type Trigger, isOfPartition, place } from './nodes.ts';

export function checkNumbers(policy: Policy, errors: Collector): void {
  const refuse = (field: string, message: string, hint?: string) =>
    errors.report('param-out-of-range', place(policy, field), message, hint);
  if (policy.params.length > MAX_PARAMS)
    refuse('params', `A policy has at most ${MAX_PARAMS} parameters; this one has ${policy.params.length}.`);
  if (policy.states.length > 12)
    errors.report(
      'unsupported-on-target',
      place(policy, 'accumulate'),
      `A policy has at most 12 states; this one has ${policy.states.length}.`,
      `each state is a word beside every slot, a history ${BUCKETS}`,
    );
  checkParams(policy, errors);
  checkHistories(policy, errors);
  for (const state of policy.states)
    if (!Number.isFinite(state.init))
      refuse(`accumulate.${state.name}`, `${state.name} starts at ${state.init}; it must be a finite f32.`);
  for (const { name, n } of policy.across)
    if (n && !counts(policy, n, 0))
      errors.report(
        'wrong-type',
        n.span,
        `${name} is the n-th largest: n is a whole number from 0, or a tokens parameter.`,
        '{ nth: 8, of: (slot) => … }',
      );
  checkPartitions(policy, errors);
  const { pool, heads, layers, keep } = policy;
  if (pool && (pool.width % 2 !== 1 || pool.width < 1))
    errors.report(
      'pool-even',
      place(policy, 'pool'),
      `A width of ${pool.width} has no middle.`,
      'use an odd width, such as 5 or 7',
    );
  if (heads.kind === 'pooled' && !(heads.alpha >= 0 && heads.alpha <= 1))
    refuse('heads', `${heads.guaranteed ? 'What is guaranteed' : 'alpha'} is ${heads.alpha}, outside 0 … 1.`);
  if (layers.kind === 'pyramid' && !(layers.beta > 0.5))
    refuse('layers', `beta is ${layers.beta}; it must be more than 0.5: the first layers would keep nothing.`);
  if (
    layers.kind === 'table' &&
    !(layers.factors.length > 0 && layers.factors.every((factor) => factor >= 0 && factor <= 1024))
  )
    refuse('layers', 'A table of factors has one number from 0 to 1024 for each layer.', 'layers: [1.5, 1, 0.5]');
  if (keep.kind === 'chunks' && !(Number.isInteger(keep.size) && keep.size >= 1 && keep.size <= 65536))
    refuse(
      'keep',
      `A chunk has a whole number of positions, at least 1; this is ${keep.size}.`,
      "chunks(16, 'budget')",
    );
  if (policy.when.some((trigger) => !sensible(policy, trigger)))
    refuse(
      'when',
      'A trigger counts whole tokens, or names a tokens parameter: every from 1, over from 0, promptChunk from 16.',
    );
}

function checkParams(policy: Policy, errors: Collector): void {
  for (const { kind, name, min, max, default: value, span } of policy.params) {
    const report = (message: string) => errors.report('param-out-of-range', span, message);
    if (!(value >= min && value <= max)) report(`${name} is ${value}, outside ${min} … ${max}.`);
    else if (kind !== 'number' && min < 0) report(`${name} may be ${min}: a number of tokens is never negative.`);
    else if (kind === 'tokens' && !Number.isInteger(value))
      report(`${name} counts tokens: ${value} is not a whole number.`);
  }
}

function checkHistories(policy: Policy, errors: Collector): void {
  for (const { history } of policy.states)
    if (history?.bucket === 0 && !counts(policy, history.last, BUCKETS))
      errors.report(
        'history-length',
        history.last.span,
        `${history.of} looks back a whole number of queries, from ${BUCKETS}, or as many as a tokens parameter that is never less.`,
        `last: 400, or tokens(400, { min: ${BUCKETS} })`,
      );
}

function checkPartitions(policy: Policy, errors: Collector): void {
  const { partitions, across } = policy;
  if (partitions && !(counts(policy, partitions.size, 1) && counts(policy, partitions.first, 0)))
    errors.report(
      'partition-size',
      place(policy, 'partitions'),
      'A partition has a whole number of positions, from 1, and the first begins at one, from 0; or tokens parameters say so that are never less.',
      'partitions: { size: 128 }, or tokens(128, { min: 1 })',
    );
  if (!partitions)
    for (const { name, reduce, partition } of across.filter(isOfPartition))
      errors.report(
        'no-partitions',
        place(policy, `across.${name}`),
        `${name} is the ${reduce} ${partition ? 'of the next partition' : 'of a slot in its partition'}, and the policy has no partitions.`,
        'partitions: { size: 128 }',
      );
}

/**
 * Whether a count is a whole number from `least`, or a parameter that is one; a parameter that is not there was told by
 * TypeScript, or is in plain JavaScript.
 */
const whole = ({ params }: Policy, n: Count, least: number): boolean =>
  typeof n === 'number'
    ? Number.isInteger(n) && n >= least
    : params.some(({ name, kind, min }) => name === n.param && kind === 'tokens' && min >= least);

const counts = (policy: Policy, n: Node, least: number): boolean =>
  (n.op === 'const' && typeof n.value === 'number' && whole(policy, n.value, least)) ||
  (n.op === 'param' && whole(policy, { param: n.name }, least));

function sensible(policy: Policy, trigger: Trigger): boolean {
  switch (trigger.kind) {
    case 'every':
      return trigger.n === 'auto' || whole(policy, trigger.n, 1);
    case 'over':
      return whole(policy, trigger.slack, 0);
    case 'promptChunk':
      return whole(policy, trigger.n, 16);
    default:
      return true;
  }
}
