/** Policy + target → Plan: what the score reads decides which passes run, what a page carries and who may share it. */
import { fieldsOf, paramsOf, readsOf } from '../ir/fields.ts';
import { isPlace, type Policy } from '../ir/nodes.ts';
import type { CudaOptions, Pass, Plan, PlanKeep, Target } from './types.ts';
import { planCuda } from './cuda.ts';
import { expressions, tablesOf } from '../ir/uses.ts';

/** What a target adds to the plan. */
const additions: Record<Target, (policy: Policy, options: CudaOptions) => Partial<Plan>> = {
  cpu: () => ({}),
  cuda: (policy, options) => ({ cuda: planCuda(policy, options) }),
};

export function plan(policy: Policy, target: Target, hash: string, options: CudaOptions = {}): Plan {
  const fields = fieldsOf(expressions(policy).map(([, node]) => node));
  const attention = policy.observe.prompt !== 'none' || policy.observe.decode;
  const named = [policy.window, ...(policy.keep.kind === 'profile' ? policy.keep.rules : [])];
  const classes = named.some((each) => each.classes.length > 0) || fields.has('special') || fields.has('punctuation');
  const reads = { attention, keys: fields.has('key'), values: fields.has('value'), classes };
  const lanes = [
    'pos',
    ...(policy.positions === 'cache' ? ['shift'] : []),
    ...(classes ? ['class'] : []),
    ...policy.states.map((state) => state.name),
  ];
  const nextParams = [...paramsOf(policy.states.map((state) => state.next))];
  const tables = tablesOf(policy).map(({ name, layers, heads }) => ({ name, layers, heads }));
  const promptChunk = policy.when.some((trigger) => trigger.kind === 'promptChunk');
  return {
    name: policy.name,
    doc: policy.doc,
    hash,
    target,
    params: policy.params.map(({ span: _, ...param }) => param),
    observe: policy.observe,
    group: policy.group,
    lanes,
    states: policy.states.map(({ name, init }) => ({ name, init })),
    ...(nextParams.length > 0 && { nextParams }),
    ...(tables.length > 0 && { tables }),
    reads,
    pool: policy.pool,
    heads: policy.heads,
    layers: policy.layers,
    keep: kept(policy),
    window: policy.window,
    when: policy.when,
    positions: policy.positions,
    store: policy.store,
    place: policy.place,
    ordered: isOrdered(policy),
    shareable: policy.observe.prompt !== 'every' && !promptChunk,
    passes: passes(policy, target),
    ...additions[target](policy, options),
  };
}

/** Whether slots must lie in the order of their positions, for something reads neighbours. */
const isOrdered = ({ pool, keep, partitions }: Policy): boolean =>
  pool !== undefined || keep.kind === 'chunks' || partitions !== undefined;

function kept({ keep }: Policy): PlanKeep {
  if (keep.kind === 'above') return { kind: 'above' };
  return keep.kind === 'profile' ? { kind: 'profile', mass: keep.mass, rules: keep.rules } : keep;
}

/** What it takes to observe a query of a prompt, `next` left out, whose log-sum-exp is known only after all its slots. */
const observing: Record<Target, Pick<Pass, 'why' | 'bytes' | 'flops'>> = {
  cpu: {
    why: 'attend’s logits, kept in the cache until their log-sum-exp is final',
    bytes: '8*g + 8*s',
    flops: '16*g',
  },
  cuda: {
    why: 'recomputes the logits of observed queries against their final log-sum-exp',
    bytes: 'd*b + 8*s',
    flops: '2*d*g + 16*g',
  },
};

/** What a slot's score depends on, in words. */
function scoredBy({ score }: Policy): string {
  if (!score) return 'there is no score: the oldest leave first';
  const read = readsOf(score);
  return read.length ? `the score reads ${read.join(', ')}` : 'the score is a constant: the oldest leave first';
}

/** Bytes of a slot that a rule of a profile reads: position, class, score and the state. */
const PER_RULE = 16;

/** How many vectors of a slot are read to score it: each walk over the slots reads what its expressions name. */
function vectorsRead({ across, score }: Policy): number {
  const [places, others] = [across.filter(isPlace), across.filter((each) => !isPlace(each))];
  const walks = [
    others.filter(({ partition }) => !partition).map(({ of }) => of),
    others.filter(({ partition }) => partition).map(({ of }) => of),
    ...places.map(({ of }) => [of]),
    score ? [score] : [],
  ];
  return walks.map(fieldsOf).reduce((sum, fields) => sum + Number(fields.has('key')) + Number(fields.has('value')), 0);
}

/** Costs per live slot and KV head: d head size, g query group, b bytes of an element, s states. */
function passes(policy: Policy, target: Target): Pass[] {
  const list: Pass[] = [
    {
      name: 'append',
      when: 'every token',
      why: 'stores its key, value, position and initial states',
      bytes: '0',
      flops: '0',
    },
    {
      name: 'attend',
      when: 'every token',
      why: 'attention over the live slots',
      bytes: `2*d*b${policy.observe.decode ? ' + 4*g' : ''}`,
      flops: '4*d*g',
    },
  ];
  const next = policy.group === 'none' ? '2*g*s' : '2*s';
  if (policy.observe.decode)
    list.push({
      name: 'accumulate',
      when: 'every generated token',
      why: `reads attention: ${policy.states.map((state) => state.name).join(', ')}`,
      bytes: '4*g + 8*s',
      flops: `16*g + ${next}`,
    });
  if (policy.observe.prompt !== 'none') {
    const which = policy.observe.prompt === 'every' ? 'every prompt token' : 'each of the last prompt tokens';
    list.push({ name: 'observe', when: which, ...observing[target], flops: `${observing[target].flops} + ${next}` });
  }
  if (policy.keep.kind !== 'all') {
    const vectors = vectorsRead(policy);
    list.push({
      name: 'select',
      when: 'each compaction',
      why: scoredBy(policy),
      bytes: `${vectors ? `${vectors}*d*b + ` : ''}4 + 4*s`,
      flops: vectors ? `${4 * vectors}*d` : '4',
    });
    if (policy.keep.kind === 'profile') {
      const { rules, mass } = policy.keep;
      list.push({
        name: 'profile',
        when: "the prompt's end",
        why: `the first of ${rules.length + 1} rules that keeps enough of ${mass}; later compactions take one rule's slots`,
        bytes: `${PER_RULE}*${rules.length}`,
        flops: `${rules.length}`,
      });
    }
    list.push({
      name: 'compact',
      when: 'each compaction',
      why: `${
        isOrdered(policy) ? 'survivors move down in place' : 'the last that stay take the places of those that leave'
      }; whole pages at the end are freed`,
      bytes: '4*d*b + 8 + 8*s',
      flops: '0',
    });
  }
  return list;
}
