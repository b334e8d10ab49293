/** Policy + Plan → source files, through Handlebars. Every value a template shows is computed here; templates only place it. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import Handlebars from 'handlebars';
import { fieldsOf } from '../ir/fields.ts';
import type { Node, Policy } from '../ir/nodes.ts';
import type { CudaPlan, Plan } from '../plan/types.ts';
import { literal, printReturn } from './print.ts';
import { targets } from './targets.ts';
import { templates } from './shared/includes.ts';

/** The context of a target's template. A test holds the templates' paths against it. */
export function context(policy: Policy, plan: Plan) {
  const target = targets[plan.target].text;
  // a state may have the same name: theirs are the last ones
  const ours = plan.lanes.slice(0, plan.lanes.length - plan.states.length);
  const lane = (name: string) => Math.max(0, ours.indexOf(name));
  const names = {
    states: policy.states.map((state) => state.name),
    params: policy.params.map((param) => param.name),
    file: basename(policy.span.file),
  };
  const reads = (nodes: readonly Node[]) => fieldsOf(nodes);
  const [nexts, scores, statistics] = [
    policy.states.map((state) => state.next),
    policy.score ? [policy.score] : [],
    policy.across.map((each) => each.of),
  ].map(reads);
  const code = (node: Node, indent: string, result: (value: string) => string) => [
    ...printReturn(node, names, result).map((line) => (line.startsWith('#') ? line : indent + line)),
    '#line here',
  ];
  return {
    target: plan.target,
    targetName: target.title,
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
    scoreReadsKey: scores.has('key'),
    scoreReadsValue: scores.has('value'),
    acrossReadsKey: statistics.has('key'),
    acrossReadsValue: statistics.has('value'),
    hasAcross: policy.across.length > 0,
    acrossCount: policy.across.length,
    acrossHasVector: policy.across.some((each) => each.of.type === 'vec'),
    // C++ has no arrays of nothing: one more than there are
    reduces: [...policy.across.map((each) => `Reduce::${each.reduce}`), 'Reduce::sum'].join(', '),
    vectors: [...policy.across.map((each) => each.of.type === 'vec'), false].join(', '),
    ordered: plan.ordered,
    windowPrompt: plan.window.prompt,
    windowClasses: plan.window.classes.map((name) => `SKV_CLASS_${name.toUpperCase()}`).join(' | ') || 0,
    poolWidth: plan.pool?.width ?? 1,
    chunk: plan.keep.kind === 'chunks' ? plan.keep.size : 1,
    alpha: plan.heads.kind === 'pooled' ? plan.heads.alpha : 0,
    group: plan.group,
    pool: plan.pool?.kind ?? 'none',
    heads: plan.heads.kind,
    keep: plan.keep.kind,
    inits: [...plan.states.map((state) => literal(state.init)), '0'].join(', '),
    states: policy.states.map((state, i) => ({
      name: state.name,
      body: code(state.next, '      ', (value) => `after[${i}] = ${value};`),
    })),
    across: policy.across.map((each, i) => ({
      name: each.name,
      type: each.of.type === 'vec' ? 'Vec' : 'float',
      body: code(each.of, '      ', (value) => `put(${i}, ${value});`),
      load: `a.${each.name} = totals.${each.of.type === 'vec' ? 'vector' : 'scalar'}(${i});`,
    })),
    score: policy.score ? code(policy.score, '    ', (value) => `return ${value};`) : ['    return slot.pos;'],
    threshold: policy.keep.kind === 'above' ? threshold(policy.keep.threshold, names.params) : '0.0f',
    ...(plan.cuda ? schedule(plan.cuda) : {}),
  };
}

/** What only the CUDA template shows. */
function schedule(cuda: CudaPlan) {
  const names = { bf16: 'Bf16', f16: 'F16', f32: 'F32' };
  return {
    split: cuda.split,
    splits: cuda.splits,
    tileRows: cuda.tileRows,
    tileSlots: cuda.tileSlots,
    variants: cuda.headDims.flatMap((headDim) => cuda.kvTypes.map((type) => ({ headDim, kv: names[type] }))),
  };
}

const threshold = (node: Node, params: readonly string[]): string =>
  node.op === 'param' ? `params[${params.indexOf(node.name)}]` : literal((node as { value: number }).value);

export interface Rendered {
  /** file name → text */
  readonly [name: string]: string;
}

const read = (name: string): string => readFileSync(join(templates, name), 'utf8');

/** What the templates share. */
export const partials = ['header', 'traits', 'across', 'score', 'table'];

/** The same bytes for the same policy, always. `#line here` becomes the generated file's own position. */
export function render(policy: Policy, plan: Plan): Rendered {
  const { template: file, source } = targets[plan.target].text;
  const handlebars = Handlebars.create();
  for (const name of partials) handlebars.registerPartial(name, read(`shared/${name}.hbs`));
  const template = handlebars.compile(read(file), { strict: true, noEscape: true });
  const lines = template(context(policy, plan)).split('\n');
  const text = lines.map((line, i) => (line === '#line here' ? `#line ${i + 2} "${source}"` : line)).join('\n');
  return { [source]: text };
}
