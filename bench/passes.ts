/** The generated kernels to measure: which pass, at which length, and what it must move and compute. */
import { cost, movedSlots } from '../codegen/plan/cost.ts';
import type { BuiltPolicy } from '../codegen/plan/types.ts';
import { checkTables } from '../runtime/engine/budgets.ts';
import { Rules } from '../runtime/engine/rules.ts';

/** The shape that kernels are measured for. */
export interface KernelShape {
  layers: number;
  kvHeads: number;
  group: number;
  headDim: number;
  width: number;
  ffn: number;
}

export interface PassCase {
  kernel: string;
  size: string;
  open: string;
  /** what the policy's parameters are, where it is asked with its own */
  params?: string;
  line: string;
  bytes: number;
  ops: number;
}

/** Bytes of pages beyond any cache: sequences take turns over them. */
const COLD = 96 << 20;

interface Wanted {
  policy: BuiltPolicy;
  /** observe, last: attend with all new tokens observed, or the last `window` */
  pass: 'append' | 'attend' | 'observe' | 'last' | 'compact';
  slots: number;
  /** new tokens at the end of the slots */
  tokens: number;
  keep?: number;
  window?: number;
  shape?: Partial<KernelShape>;
  /** of how many layers; default all */
  layers?: number;
  params?: string;
}

/** Pairs of a query and a slot it sees, when the last `tokens` of `slots` are new and `rows` of them ask. */
const pairs = (slots: number, rows: number): number => rows * slots - (rows * (rows - 1)) / 2;

function passCase(
  base: KernelShape,
  { policy: built, pass, slots, tokens, keep = 0, window = 0, ...rest }: Wanted,
): PassCase {
  const { plan, library } = built;
  const shape = { ...base, ...rest.shape };
  const layers = Math.min(rest.layers ?? shape.layers, shape.layers);
  const { kvHeads, group, headDim } = shape;
  const heads = layers * kvHeads;
  const values = { d: headDim, g: group, b: 2, s: plan.states.length };
  const formula = (name: string, kind: 'bytes' | 'flops') => {
    const found = plan.passes.find((each) => each.name === name);
    return found ? cost(found[kind], values) : 0;
  };
  const slotBytes = 4 * headDim + 4 * plan.lanes.length;
  const seen = pairs(slots, tokens);
  const single = tokens === 1;
  const [bytes, ops] = {
    append: [tokens * slotBytes, 0],
    // keys and values once for all new tokens; states are read and written
    attend: [slots * 4 * headDim, seen * formula('attend', 'flops')],
    observe: [
      slots * (4 * headDim + 8 * plan.states.length),
      seen * (formula('attend', 'flops') + formula(single ? 'accumulate' : 'observe', 'flops')),
    ],
    last: [
      slots * (4 * headDim + 8 * plan.states.length),
      seen * formula('attend', 'flops') + pairs(slots, window) * formula('observe', 'flops'),
    ],
    compact: [
      slots * formula('select', 'bytes') + movedSlots(plan, slots, keep) * formula('compact', 'bytes'),
      slots * formula('select', 'flops'),
    ],
  }[pass];
  const capacity = slots + tokens;
  const seqs = Math.max(1, Math.min(64, Math.ceil(COLD / (capacity * heads * slotBytes))));
  const chunk = Math.max(tokens, 64);
  const what = {
    append: 'append',
    attend: single ? 'attend' : 'attend, prefill',
    observe: single ? 'attend and observe' : 'attend and observe every, prefill',
    last: `attend and observe last ${window}, prefill`,
    compact: slots - keep === 1 ? 'replace one slot' : 'select-compact',
  }[pass];
  const parts = [
    ...(pass === 'compact' ? [`${slots} → ${keep} slots`] : [`${slots} slots`]),
    ...(single || pass === 'compact' ? [] : [`${tokens} tokens`]),
    ...(rest.shape ? [`${kvHeads} × ${group} heads`] : []),
    ...(layers < shape.layers ? [`${layers} layer${layers > 1 ? 's' : ''}`] : []),
  ];
  return {
    kernel: `${what} (${plan.name})`,
    size: parts.join(', '),
    params: rest.params,
    open: `open ${layers} ${kvHeads} ${group} ${headDim} ${capacity} ${chunk} ${seqs} ${library}`,
    line: `pass ${pass} ${tokens} ${slots} ${keep} ${window}`,
    bytes: bytes * heads,
    ops: ops * heads,
  };
}

export function passCases(
  shape: KernelShape,
  policies: Record<'none' | 'h2o' | 'snapkv', BuiltPolicy>,
  quick: boolean,
): PassCase[] {
  const { none, h2o, snapkv } = policies;
  const lengths = quick ? [128, 1024] : [128, 1024, 4096, 8000];
  const prompts = quick ? [512] : [512, 2048, 7000];
  const [long, chunk, few] = [quick ? 1024 : 8000, quick ? 128 : 512, 2];
  const wanted: Wanted[] = [
    { policy: none, pass: 'append', slots: 1024, tokens: chunk },
    ...lengths.map((slots): Wanted => ({ policy: none, pass: 'attend', slots, tokens: 1 })),
    ...[1, 8].map((group): Wanted => ({ policy: none, pass: 'attend', slots: long, tokens: 1, shape: { group } })),
    ...lengths.map((slots): Wanted => ({ policy: h2o, pass: 'observe', slots, tokens: 1 })),
    ...prompts.map((slots): Wanted => ({ policy: none, pass: 'attend', slots, tokens: chunk, layers: few })),
    ...prompts.map((slots): Wanted => ({ policy: h2o, pass: 'observe', slots, tokens: chunk, layers: few })),
    ...prompts.map(
      (slots): Wanted => ({ policy: snapkv, pass: 'last', slots, tokens: chunk, window: 32, layers: few }),
    ),
    { policy: h2o, pass: 'compact', slots: 673, tokens: 1, keep: 672, window: 128 },
    { policy: h2o, pass: 'compact', slots: long, tokens: 1, keep: Math.round(long / 4), window: 128 },
    { policy: snapkv, pass: 'compact', slots: long, tokens: 1, keep: Math.round(long / 4), window: 32 },
  ];
  return wanted.map((each) => passCase(shape, each));
}

/**
 * What a policy's own passes cost with its default parameters, beside attention over as many slots without it: a generated
 * token, a prompt's chunk, and a compaction where a budget decides. Throws RequestError where its tables are for another model.
 */
export function ownCases(
  shape: KernelShape,
  none: BuiltPolicy,
  policies: readonly BuiltPolicy[],
  quick: boolean,
): PassCase[] {
  const lengths = quick ? [128] : [672, 4096];
  const [prompt, chunk, long, layers] = quick ? [256, 128, 512, 2] : [2048, 512, 4096, 2];
  const wanted = (policy: BuiltPolicy): Wanted[] => {
    const { plan } = policy;
    checkTables(plan, shape);
    const rules = new Rules(plan, {}, undefined, new Array(shape.layers).fill(0));
    const { first, last } = rules.window(long);
    const keep = (slots: number) => Math.max(slots, first + last); // a budget holds the window
    const own = { policy, params: ['params', first, ...rules.paramsAt(long, prompt)].join(' ') };
    const observes = plan.observe.prompt;
    const compactions = [
      [keep(lengths[0]) + 1, keep(lengths[0])],
      [long, keep(long / 4)],
    ];
    return [
      ...lengths.map(
        (slots): Wanted => ({ ...own, pass: plan.observe.decode ? 'observe' : 'attend', slots, tokens: 1 }),
      ),
      {
        ...own,
        pass: observes === 'none' ? 'attend' : observes === 'every' ? 'observe' : 'last',
        slots: prompt,
        tokens: chunk,
        window: Math.min(rules.observeLast(prompt), chunk),
        layers,
      },
      ...('budget' in plan.keep ? compactions : []).map(
        ([slots, kept]): Wanted => ({ ...own, pass: 'compact', slots, tokens: 1, keep: kept, window: last }),
      ),
    ];
  };
  return [none, ...policies].flatMap(wanted).map((each) => passCase(shape, each));
}
