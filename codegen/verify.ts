/** What is legal after each stage. After lowering, mistakes are the author's; after simplify, they are ours. */
import { builtin } from './builtins.ts';
import { Collector, InternalError } from './diagnostics.ts';
import type { Node, Policy, Size, Span } from './ir.ts';
import { walk } from './walk.ts';

const slotNames = new Set([
  'attn',
  'pos',
  'age',
  'seen',
  'live',
  'length',
  'layer',
  'layers',
  'head',
  'heads',
  'key',
  'value',
  'special',
  'punctuation',
  'params',
]);

/** Every expression of a policy, with the name of the function it came from. */
export function expressions(policy: Policy): [string, Node][] {
  return [
    ...policy.states.map((state): [string, Node] => [`next ${state.name}`, state.next]),
    ...policy.across.map((each): [string, Node] => [`across ${each.name}`, each.of]),
    ...(policy.score ? [['score', policy.score] as [string, Node]] : []),
    ...(policy.keep.kind === 'above' ? [['above', policy.keep.threshold] as [string, Node]] : []),
  ];
}

/** The author's mistakes that need the whole policy to see. */
export function verify(policy: Policy): Policy {
  const errors = new Collector();
  const at = (field: string): Span => policy.at[field] ?? policy.span;
  const nodes = expressions(policy).flatMap(([, node]) => [...walk(node)]);

  if (!/^[a-z][a-z0-9-]{0,39}$/.test(policy.name))
    errors.report(
      'bad-name',
      at('name'),
      `"${policy.name}" cannot be a policy's name.`,
      'lower-case letters, digits and hyphens, at most 40, a letter first',
    );
  if (policy.params.length > 16)
    errors.report('param-out-of-range', at('params'), 'A policy has at most 16 parameters.');
  if (policy.states.length > 12)
    errors.report('unsupported-on-target', at('accumulate'), 'A policy has at most 12 states.');
  for (const param of policy.params) {
    if (!/^[a-zA-Z][a-zA-Z0-9_]*$/.test(param.name))
      errors.report('bad-name', param.span, `"${param.name}" cannot be a parameter's name.`, 'letters, digits and _');
    if (!(param.default >= param.min && param.default <= param.max))
      errors.report(
        'param-out-of-range',
        param.span,
        `${param.name} is ${param.default}, outside ${param.min} … ${param.max}.`,
      );
    if (param.kind === 'tokens' && !Number.isInteger(param.default))
      errors.report(
        'param-out-of-range',
        param.span,
        `${param.name} counts tokens: ${param.default} is not a whole number.`,
      );
  }
  const names = new Set<string>();
  for (const { name, span } of [
    ...policy.states.map((state) => ({ name: state.name, span: at('accumulate') })),
    ...policy.across.map((each) => ({ name: each.name, span: at('across') })),
  ]) {
    if (!/^[a-zA-Z][a-zA-Z0-9_]*$/.test(name))
      errors.report('bad-name', span, `"${name}" cannot be a state's or statistic's name.`, 'letters, digits and _');
    if (slotNames.has(name))
      errors.report('duplicate-name', span, `slot.${name} exists already; a state needs a name of its own.`);
    if (names.has(name)) errors.report('duplicate-name', span, `${name} is declared twice.`);
    names.add(name);
  }

  const readOutside = new Set(
    expressions(policy).flatMap(([from, node]) =>
      [...walk(node)].flatMap((each) => (each.op === 'state' && from !== `next ${each.name}` ? [each.name] : [])),
    ),
  );
  for (const state of policy.states)
    if (!readOutside.has(state.name))
      errors.report(
        'state-never-read',
        at('accumulate'),
        `Nothing reads ${state.name}.`,
        `score: (slot) => slot.${state.name}, or drop it`,
      );
  const observes = policy.observe.prompt !== 'none' || policy.observe.decode;
  if (policy.states.length && !observes)
    errors.report(
      'state-never-observed',
      at('accumulate'),
      '`next` runs once per observed query, and no query is observed.',
      "observe: 'every', or { last: 32 } for the end of the prompt",
    );
  if (observes && !policy.states.length)
    errors.report(
      'observe-unused',
      at('observe'),
      'Queries are observed, but no state accumulates what they see.',
      'add accumulate, or drop observe',
    );

  if (policy.pool && (policy.pool.width % 2 !== 1 || policy.pool.width < 1))
    errors.report(
      'pool-even',
      at('pool'),
      `A width of ${policy.pool.width} has no middle.`,
      'use an odd width, such as 5 or 7',
    );
  if (policy.heads.kind === 'pooled' && !(policy.heads.alpha >= 0 && policy.heads.alpha <= 1))
    errors.report('param-out-of-range', at('heads'), `alpha is ${policy.heads.alpha}, outside 0 … 1.`);
  if (policy.layers.kind === 'pyramid' && !(policy.layers.beta >= 1))
    errors.report('param-out-of-range', at('layers'), `beta is ${policy.layers.beta}; it must be at least 1.`);
  for (const trigger of policy.when)
    if (
      (trigger.kind === 'every' && trigger.n !== 'auto' && !(Number.isInteger(trigger.n) && trigger.n >= 1)) ||
      (trigger.kind === 'promptChunk' && !(Number.isInteger(trigger.n) && trigger.n >= 16)) ||
      (trigger.kind === 'over' && !(Number.isInteger(trigger.slack) && trigger.slack >= 0))
    )
      errors.report(
        'param-out-of-range',
        at('when'),
        `${trigger.kind} needs a whole number: every ≥ 1, over ≥ 0, promptChunk ≥ 16.`,
      );
  if (policy.keep.kind === 'above' && !policy.score)
    errors.report('no-budget', at('keep'), 'A threshold needs a score to compare.', 'score: (slot) => …');
  if ((policy.keep.kind === 'above' || policy.keep.kind === 'chunks') && policy.heads.kind === 'pooled')
    errors.report('unsupported-on-target', at('keep'), 'Pooled heads share a budget: they need topK.');

  if (policy.keep.kind === 'topK' || policy.keep.kind === 'chunks') checkBudget(policy, policy.keep.budget, errors);
  checkInternal(policy, nodes);
  errors.done();
  return policy;
}

/** Slots a size means by default, for a long sequence. */
function slots(policy: Policy, size: Size): { tokens: number; fraction?: number } | undefined {
  if ('tokens' in size) return { tokens: size.tokens };
  const param = policy.params.find((each) => each.name === size.param);
  if (!param || param.kind === 'number') return undefined;
  return param.kind === 'fraction' ? { tokens: 0, fraction: param.default } : { tokens: param.default };
}

function checkBudget(policy: Policy, budget: Size, errors: Collector): void {
  const at = (field: string): Span => policy.at[field] ?? policy.span;
  const total = slots(policy, budget);
  if (!total || (total.fraction === undefined && !(total.tokens >= 1)) || total.fraction === 0) {
    errors.report(
      'no-budget',
      at('keep'),
      'The budget must be a number of slots, or a tokens or fraction parameter above 0.',
      "keep: topK('budget') with params: { budget: tokens(512) }",
    );
    return;
  }
  const first = slots(policy, policy.window.first);
  const last = slots(policy, policy.window.last);
  if (!first || !last) {
    errors.report(
      'wrong-type',
      at('window'),
      'The window is counted in tokens: a number, or a tokens or fraction parameter.',
    );
    return;
  }
  const window = first.tokens + last.tokens;
  if (total.fraction === undefined && window > total.tokens)
    errors.report(
      'window-exceeds-budget',
      at('window'),
      `The window protects ${window} slots, the budget is ${total.tokens}.`,
      'protected slots count towards the budget: raise it, or shrink the window',
    );
}

/** After simplify: what is wrong now is a bug of the compiler. */
export function verifySimplified(policy: Policy): Policy {
  checkInternal(
    policy,
    expressions(policy).flatMap(([, node]) => [...walk(node)]),
  );
  return policy;
}

/** Well-formedness that no author can break: types of operands, known builtins. */
function checkInternal(policy: Policy, nodes: readonly Node[]): void {
  for (const node of nodes) {
    const bad = (what: string) => {
      throw new InternalError(`verify failed in ${policy.name}: ${what} at ${node.span.line}:${node.span.column}`);
    };
    if (node.op === 'call') {
      const known = builtin(node.fn);
      if (!known || known.args.some((type, i) => node.args[i]?.type !== type)) bad(`call of ${node.fn}`);
    } else if (
      node.op === 'select' &&
      (node.cond.type !== 'bool' || node.then.type !== node.else.type || node.type !== node.then.type)
    )
      bad('select');
    else if (node.op === 'binary' && node.a.type !== node.b.type) bad(node.fn);
    else if (node.op === 'const' && node.type === 'f32' && !Object.is(Math.fround(node.value as number), node.value))
      bad('a constant that is not an f32');
  }
}
