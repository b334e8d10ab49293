/** Policy + Plan → source files, through Handlebars. Every value a template shows is computed here; templates only place it. */
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Handlebars from 'handlebars';
import type { Across, Node, Policy } from './ir.ts';
import { fieldsOf } from './plan.ts';
import type { Plan } from './plan-types.ts';
import { literal, printReturn } from './print.ts';

export const templates = join(dirname(dirname(fileURLToPath(import.meta.url))), 'templates');

/** The context of templates/cpu/policy.cpp.hbs. A test holds the template's paths against it. */
export function context(policy: Policy, plan: Plan) {
  const lane = (name: string) => Math.max(0, plan.lanes.indexOf(name));
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
    ordered: plan.ordered,
    windowPrompt: plan.window.prompt,
    windowClasses: plan.window.classes.reduce((bits, name) => bits | (name === 'special' ? 1 : 2), 0),
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
    across: policy.across.map((each) => ({
      ...statistic(each),
      body: code(each.of, '      ', (value) => put(each, value)),
    })),
    score: policy.score ? code(policy.score, '    ', (value) => `return ${value};`) : ['    return slot.pos;'],
    threshold: policy.keep.kind === 'above' ? threshold(policy.keep.threshold, names.params) : '0.0f',
  };
}

const threshold = (node: Node, params: readonly string[]): string =>
  node.op === 'param' ? `params[${params.indexOf(node.name)}]` : literal((node as { value: number }).value);

/** Where a slot's value of a statistic goes: its lane of the page, or the extreme so far. */
function put({ name, reduce, of }: Across, value: string): string {
  if (reduce === 'mean' || reduce === 'sum') return `a->${name}_lane[lane] = ${value};`;
  const pick = reduce === 'max' ? 'skv_max' : 'skv_min';
  if (of.type === 'f32') return `a->${name} = ${pick}(a->${name}, ${value});`;
  return `const Vec value = ${value};\n      for (int d = 0; d < slot.dim; d++) a->${name}.at[d] = ${pick}(a->${name}.at[d], value.at[d]);`;
}

function statistic({ name, reduce, of }: Across) {
  const vector = of.type === 'vec';
  const summed = reduce === 'mean' || reduce === 'sum';
  const start = summed ? '0.0f' : reduce === 'max' ? '-INFINITY' : 'INFINITY';
  const each = (statement: (element: string, lane: string) => string) =>
    vector
      ? `for (int d = 0; d < dim; d++) { ${statement(`a->${name}.at[d]`, `a->${name}_lane[l].at[d]`)} }`
      : statement(`a->${name}`, `a->${name}_lane[l]`);
  const lanes = (statement: string) => `for (int l = 0; l < SKV_PAGE; l++) { ${statement} }`;
  return {
    name,
    type: vector ? 'Vec' : 'float',
    summed,
    begin: each((at) => `${at} = ${start};`),
    pageBegin: summed ? each((_, lane) => lanes(`${lane} = 0.0f;`)) : '',
    pageEnd: summed ? `add_tree(&a->${name}, a->${name}_lane, dim);` : '',
    end: reduce === 'mean' ? each((at) => `${at} = ${at} / (float)live;`) : '',
  };
}

export interface Rendered {
  /** file name → text */
  readonly [name: string]: string;
}

/** The same bytes for the same policy, always. `#line here` becomes the generated file's own position. */
export function render(policy: Policy, plan: Plan): Rendered {
  const source = readFileSync(join(templates, 'cpu', 'policy.cpp.hbs'), 'utf8');
  const template = Handlebars.compile(source, { strict: true, noEscape: true });
  const lines = template(context(policy, plan)).split('\n');
  const text = lines.map((line, i) => (line === '#line here' ? `#line ${i + 2} "policy.cpp"` : line)).join('\n');
  return { 'policy.cpp': text };
}
