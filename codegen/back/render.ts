/** Policy + Plan → source files, through Handlebars. Every value a template shows is computed here; templates only place it. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import Handlebars from 'handlebars';
import { fieldsOf, guardsOf } from '../ir/fields.ts';
import {
  type Across,
  isOfPartition,
  isPlace,
  type Node,
  type Policy,
  type Size,
  type SlotField,
  tableKey,
} from '../ir/nodes.ts';
import { tablesOf } from '../ir/uses.ts';
import type { CudaPlan, Plan } from '../plan/types.ts';
import { literal, printReturn } from './print.ts';
import { targets } from './targets.ts';
import { templates } from './shared/includes.ts';
import type { GeneratedFile } from './shared/target.ts';

/** The context of a target's template, one part a partial. A test holds the templates' paths against it. */
export function context(policy: Policy, plan: Plan) {
  return {
    ...header(plan),
    ...traits(policy, plan),
    ...acrossTraits(policy),
    ...rankedTraits(policy),
    ...partitionTraits(policy),
    ...tableTraits(policy),
    ...profileTraits(policy),
    ...expressions(policy),
    ...(plan.cuda ? schedule(plan.cuda) : guards(policy)),
  };
}

/** What a reader of the file learns first, and the engine from the policy's table. */
function header(plan: Plan) {
  return {
    target: plan.target,
    targetName: targets[plan.target].text.title,
    name: plan.name,
    doc: plan.doc ? plan.doc.split('\n') : [],
    hash: plan.hash,
    reads:
      Object.entries(plan.reads)
        .filter(([, yes]) => yes)
        .map(([name]) => name)
        .join(', ') || 'positions only',
    laneList: plan.lanes.join(', '),
    compacts: plan.when.map((trigger) => trigger.kind).join(', ') || 'never',
  };
}

/** The policy's constants, by which schedules choose their code. */
function traits(policy: Policy, plan: Plan) {
  // a state may have the same name: theirs are the last ones
  const ours = plan.lanes.slice(0, plan.lanes.length - plan.states.length);
  const lane = (name: string) => Math.max(0, ours.indexOf(name));
  const fieldsOfStates = (once: boolean) =>
    fieldsOf(policy.states.filter((state) => (state.once ?? false) === once).map((state) => state.next));
  const [nexts, begins] = [fieldsOfStates(false), fieldsOfStates(true)];
  const scores = fieldsOf(policy.score ? [policy.score] : []);
  return {
    lanes: plan.lanes.length,
    shiftLane: lane('shift'),
    classLane: lane('class'),
    stateCount: plan.states.length,
    firstState: plan.lanes.length - plan.states.length,
    observes: plan.reads.attention,
    observesPrompt: plan.observe.prompt !== 'none',
    observesDecode: plan.observe.decode,
    nextReadsKey: nexts.has('key'),
    nextReadsValue: nexts.has('value'),
    begins: policy.states.some(({ once }) => once),
    beginReadsKey: begins.has('key'),
    beginReadsValue: begins.has('value'),
    scoreReadsKey: scores.has('key'),
    scoreReadsValue: scores.has('value'),
    ordered: plan.ordered,
    windowPrompt: plan.window.prompt,
    windowClasses: classBits(plan.window.classes),
    poolWidth: plan.pool?.width ?? 1,
    chunk: plan.keep.kind === 'chunks' ? plan.keep.size : 1,
    alpha: plan.heads.kind === 'pooled' ? plan.heads.alpha : 0,
    guaranteed: plan.heads.kind === 'pooled' && plan.heads.guaranteed === true,
    group: plan.group,
    pool: plan.pool?.kind ?? 'none',
    heads: plan.heads.kind,
    keep: plan.keep.kind,
    inits: [...plan.states.map((state) => literal(state.init)), '0'].join(', '),
  };
}

/** The statistics' constants. C++ has no arrays of nothing: lists are one longer than they say. */
function acrossTraits({ across }: Policy) {
  const fields = fieldsOf(across.filter(isOfHead).map((each) => each.of));
  const vectors = across.map((each) => each.of.type === 'vec');
  return {
    acrossReadsKey: fields.has('key'),
    acrossReadsValue: fields.has('value'),
    hasAcross: across.some(isOfHead),
    acrossCount: across.length,
    acrossHasVector: vectors.includes(true),
    reduces: [...across.map((each) => `Reduce::${each.reduce}`), 'Reduce::sum'].join(', '),
    vectors: [...vectors, false].join(', '),
  };
}

/** The statistics that look for the n-th largest value. */
function rankedTraits({ across, params }: Policy) {
  const names = params.map((param) => param.name);
  const nths = across.flatMap(({ n }, at) => (n ? [{ at, count: given(n, names) }] : []));
  return { ranked: nths.length, nths };
}

/** Rules of a profile: their token classes as bits, their sizes as numbers of slots. */
function profileTraits({ keep, params, states }: Policy) {
  if (keep.kind !== 'profile') return { rules: 0, massState: 0, eachRule: [] };
  const slots = (size: Size): string => {
    if ('tokens' in size) return String(size.tokens);
    const at = params.findIndex(({ name }) => name === size.param);
    return params[at].kind === 'fraction' ? `slots_of(params[${at}], length)` : `(int)params[${at}]`;
  };
  return {
    rules: keep.rules.length,
    massState: states.findIndex(({ name }) => name === keep.mass),
    eachRule: keep.rules.map(({ classes, top, last }, at) => ({
      at,
      classes: classBits(classes),
      top: slots(top),
      last: slots(last),
    })),
  };
}

const classBits = (classes: readonly string[]): string | number =>
  classes.map((name) => `SKV_CLASS_${name.toUpperCase()}`).join(' | ') || 0;

const isOfHead = (each: Across): boolean => !isOfPartition(each);

/** A vector of a whole head is constant while slots are scored: what they ask of it is remembered by page. */
const acrossType = (each: Across, i: number): string => {
  if (each.of.type !== 'vec') return 'float';
  return isOfHead(each) ? `AcrossVec<${i}>` : 'Vec';
};

/** Where partitions lie, and which statistics are of one. */
function partitionTraits({ across, partitions, params }: Policy) {
  const names = params.map((param) => param.name);
  const extremes = fieldsOf(across.filter((each) => each.partition).map((each) => each.of));
  const places = across.filter(isPlace);
  const read = (field: SlotField) => [...places.map((each) => fieldsOf([each.of]).has(field)), false].join(', ');
  return {
    partitioned: partitions !== undefined,
    partitionFirst: partitions ? given(partitions.first, names) : '',
    partitionSize: partitions ? given(partitions.size, names) : '',
    nexts: [...across.map((each) => each.partition === 'next'), false].join(', '),
    extremesReadKey: extremes.has('key'),
    extremesReadValue: extremes.has('value'),
    placeCount: places.length,
    placeHows: [...places.map((each) => `Reduce::${each.reduce}`), 'Reduce::rank'].join(', '),
    placesReadKey: read('key'),
    placesReadValue: read('value'),
  };
}

/** Constants by layer and head, a line a layer. */
function tableTraits(policy: Policy) {
  const found = tablesOf(policy);
  return {
    tableLayers: found[0]?.layers ?? 0,
    tableHeads: Math.max(0, ...found.map(({ heads }) => heads)),
    tables: found.map(({ name, layers, heads, values }, i) => ({
      title: `${name}, [${layers} layers]${heads ? `[${heads} KV heads]` : ''}`,
      array: `table_${i}[${values.length}]`,
      rows: Array.from({ length: layers }, (_, layer) => {
        const width = Math.max(1, heads);
        return `${values
          .slice(layer * width, (layer + 1) * width)
          .map(literal)
          .join(', ')},`;
      }),
    })),
  };
}

/** Prints expressions of the policy as statements. */
function printer(policy: Policy) {
  const names = {
    states: policy.states.map((state) => state.name),
    params: policy.params.map((param) => param.name),
    tables: tablesOf(policy).map(tableKey),
    file: basename(policy.span.file),
  };
  return (node: Node, indent: string, result: (value: string) => string) => [
    ...printReturn(node, names, result).map((line) => (line.startsWith('#') ? line : indent + line)),
    '#line here',
  ];
}

/** The policy's expressions. */
function expressions(policy: Policy) {
  const code = printer(policy);
  const putting = policy.across.flatMap((each, i) =>
    isPlace(each) ? [] : [{ ofHead: isOfHead(each), ...statistic(each, i) }],
  );
  function statistic({ name, of }: Across, i: number) {
    return {
      name,
      body: code(of, '      ', (value) => `put(${i}, ${value});`),
      load: `${name} = totals.${of.type === 'vec' ? 'vector' : 'scalar'}(${i});`,
    };
  }
  return {
    states: policy.states.map(({ name, next, once }, i) => ({
      name,
      body: once ? [`      after[${i}] = states[${i}];`] : code(next, '      ', (value) => `after[${i}] = ${value};`),
    })),
    begun: policy.states.flatMap(({ name, next, once }, i) =>
      once ? [{ name, body: code(next, '      ', (value) => `states[${i}] = ${value};`) }] : [],
    ),
    across: policy.across.map((each, i) => ({ name: each.name, type: acrossType(each, i) })),
    ofHead: putting.filter((each) => each.ofHead),
    extremes: putting.filter((each) => !each.ofHead),
    placed: policy.across.filter(isPlace).map(({ name, of }, at) => ({
      name,
      at,
      body: code(of, '      ', (value) => `return ${value};`),
    })),
    score: policy.score ? code(policy.score, '    ', (value) => `return ${value};`) : ['    return slot.pos;'],
    threshold: threshold(policy),
  };
}

/** What scores are compared with, or what a rule of a profile must reach. */
function threshold({ keep, params }: Policy): string {
  const names = params.map((param) => param.name);
  if (keep.kind === 'above') return given(keep.threshold, names);
  return keep.kind === 'profile' ? given(keep.reach, names) : '0.0f';
}

/** What only the CPU's template shows: a vector of slots is worth leaving out, a lane of many is not. */
function guards(policy: Policy) {
  const code = printer(policy);
  const { states } = policy;
  const found = guardsOf(states).flatMap((guard, at) =>
    guard ? [{ name: states[at].name, at, body: code(guard, '      ', (value) => `return ${value};`) }] : [],
  );
  return { guarded: found.length > 0, guards: found };
}

/** What only the CUDA template shows. */
function schedule(cuda: CudaPlan) {
  const names = { bf16: 'Bf16', f16: 'F16', f32: 'F32' };
  const variants = cuda.headDims.flatMap((headDim) => cuda.kvTypes.map((type) => ({ headDim, kv: names[type] })));
  return {
    split: cuda.split,
    splits: cuda.splits,
    tileRows: cuda.tileRows,
    tileSlots: cuda.tileSlots,
    variants,
    variantList: variants.map(({ headDim, kv }) => `Variant<${kv}, ${headDim}>`).join(', '),
  };
}

/** A constant, or a parameter's value. */
const given = (node: Node, params: readonly string[]): string =>
  node.op === 'param' ? `params[${params.indexOf(node.name)}]` : literal((node as { value: number }).value);

export interface Rendered {
  /** file name → text */
  readonly [name: string]: string;
}

const read = (name: string): string => readFileSync(join(templates, name), 'utf8');

/** Parts of the templates, by name: below templates/. */
export const partials: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ['header', 'constants', 'traits', 'across', 'score', 'table'].map((name) => [name, `shared/${name}.hbs`]),
  ),
  schedule: 'cuda/schedule.hbs',
};

/** The same bytes for the same policy, always. `#line here` becomes the generated file's own position. */
export function render(policy: Policy, plan: Plan): Rendered {
  const { text } = targets[plan.target];
  const handlebars = Handlebars.create();
  for (const [name, file] of Object.entries(partials)) handlebars.registerPartial(name, read(file));
  const values = context(policy, plan);
  const generated = ({ template, source }: GeneratedFile): [string, string] => {
    const lines = handlebars.compile(read(template), { strict: true, noEscape: true })(values).split('\n');
    return [source, lines.map((line, i) => (line === '#line here' ? `#line ${i + 2} "${source}"` : line)).join('\n')];
  };
  return Object.fromEntries([text, ...text.common].map(generated));
}
