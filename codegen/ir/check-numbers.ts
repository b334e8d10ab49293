/** Numbers that have a range of their own. */
import { tokens } from '../../dsl/params.ts';
import { MAX_PARAMS } from '../../runtime/contract/records.ts';
import type { Collector } from './diagnostics.ts';
import { BUCKETS, type Count, type Node, type Policy, type Trigger, isOfPartition, place } from './nodes.ts';

/** The most tokens that a policy can speak of: as many as a `tokens` parameter may be. */
export const MOST_TOKENS = tokens(0).max;
/** The most neighbours that are pooled, and positions of a chunk. */
const WIDEST = 65536;

const isFinite32 = (value: number): boolean => Number.isFinite(Math.fround(value));

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
        `${name} is the n-th largest: n is a whole number, 0 … ${MOST_TOKENS}, or a tokens parameter.`,
        '{ nth: 8, of: (slot) => … }',
      );
  checkPartitions(policy, errors);
  const { pool, heads, layers, keep } = policy;
  if (pool && !(pool.width % 2 === 1 && pool.width >= 1 && pool.width < WIDEST))
    errors.report(
      'pool-even',
      place(policy, 'pool'),
      `A width of ${pool.width} is not an odd number of slots, 1 … ${WIDEST - 1}.`,
      'use an odd width, such as 5 or 7: as many neighbours on the left as on the right',
    );
  if (heads.kind === 'pooled' && !(heads.alpha >= 0 && heads.alpha <= 1))
    refuse(
      'heads',
      `${heads.guaranteed ? 'What is guaranteed' : 'alpha'} is ${heads.alpha}, outside 0 … 1.`,
      'pooled(0.5), or pooled({ guaranteed: 0.2 })',
    );
  if (layers.kind === 'pyramid' && !(layers.beta > 0.5 && isFinite32(layers.beta)))
    refuse(
      'layers',
      `beta is ${layers.beta}; it must be a number above 0.5, or the first layers would keep nothing.`,
      'pyramid(20)',
    );
  if (
    layers.kind === 'table' &&
    !(layers.factors.length > 0 && layers.factors.every((factor) => factor >= 0 && factor <= 1024))
  )
    refuse('layers', 'A table of factors has one number from 0 to 1024 for each layer.', 'layers: [1.5, 1, 0.5]');
  if (keep.kind === 'chunks' && !(Number.isInteger(keep.size) && keep.size >= 1 && keep.size <= WIDEST))
    refuse(
      'keep',
      `A chunk has a whole number of positions, 1 … ${WIDEST}; this is ${keep.size}.`,
      "chunks(16, 'budget')",
    );
  if (keep.kind === 'above' && keep.threshold.op === 'const' && !isFinite32(Number(keep.threshold.value)))
    refuse('keep', `No score is compared with ${keep.threshold.value}: a threshold is a finite f32.`, 'above(0.001)');
  if (policy.when.some((trigger) => !sensible(policy, trigger)))
    refuse(
      'when',
      `A trigger counts whole tokens, up to ${MOST_TOKENS}, or names a tokens parameter: every from 1, over from 0, promptChunk from 16.`,
      "every(16), over(0), promptChunk(128), or tokens(128, { min: 16 }) for promptChunk('block')",
    );
}

function checkParams(policy: Policy, errors: Collector): void {
  for (const { kind, name, min, max, default: value, span } of policy.params) {
    const report = (message: string, hint: string) => errors.report('param-out-of-range', span, message, hint);
    if (!(value >= min && value <= max))
      report(`${name} is ${value}, outside ${min} … ${max}.`, `a default between them, or another { min, max }`);
    else if (kind !== 'number' && min < 0)
      report(`${name} may be ${min}: a number of tokens is never negative.`, 'leave min out: it is 0');
    else if (kind === 'tokens' && ![value, min, max].every(Number.isInteger))
      report(
        `${name} counts tokens: ${[value, min, max].find((each) => !Number.isInteger(each))} is not a whole number.`,
        'fraction(0.25) is a part of the sequence, number(0.25) has no unit',
      );
    else if (kind === 'tokens' && max > MOST_TOKENS)
      report(`${name} may be ${max}, and no sequence has more than ${MOST_TOKENS} tokens.`, 'leave max out');
    else if (![min, max].every(isFinite32))
      report(
        `${name} may be ${[min, max].find((each) => !isFinite32(each))}, which is no finite f32.`,
        'a smaller range',
      );
  }
}

function checkHistories(policy: Policy, errors: Collector): void {
  for (const { history } of policy.states)
    if (history?.bucket === 0 && !counts(policy, history.last, BUCKETS))
      errors.report(
        'history-length',
        history.last.span,
        `${history.of} looks back a whole number of queries, ${BUCKETS} … ${MOST_TOKENS}, or as many as a tokens parameter that is never less.`,
        `last: 400, or tokens(400, { min: ${BUCKETS} })`,
      );
}

function checkPartitions(policy: Policy, errors: Collector): void {
  const { partitions, across } = policy;
  if (partitions && !(counts(policy, partitions.size, 1) && counts(policy, partitions.first, 0)))
    errors.report(
      'partition-size',
      place(policy, 'partitions'),
      `A partition has a whole number of positions, 1 … ${MOST_TOKENS}, and the first begins at one, from 0; or tokens parameters say so that are never less.`,
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
 * Whether a count is a whole number from `least` to MOST_TOKENS, or a parameter that is one; a parameter that is not there was told by
 * TypeScript, or is in plain JavaScript.
 */
const whole = ({ params }: Policy, n: Count, least: number): boolean =>
  typeof n === 'number'
    ? Number.isInteger(n) && n >= least && n <= MOST_TOKENS
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
