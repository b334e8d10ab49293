/** What is legal after each stage. After lowering, mistakes are the author's; after simplify, they are ours. */
import { builtin } from './builtins.ts';
import { type Collector, InternalError, stage } from './diagnostics.ts';
import { type Node, type Policy, type Size, type Span, slotNames, slotTypes, type Trigger } from './nodes.ts';
import { walk } from './walk.ts';

/** Every expression of a policy, with the name of the function it came from. */
export function expressions(policy: Policy): [string, Node][] {
  return [
    ...policy.states.map((state): [string, Node] => [`next ${state.name}`, state.next]),
    ...policy.across.map((each): [string, Node] => [`across ${each.name}`, each.of]),
    ...(policy.score ? [['score', policy.score] as [string, Node]] : []),
    ...(policy.keep.kind === 'above' ? [['above', policy.keep.threshold] as [string, Node]] : []),
  ];
}

/** States and statistics that the score depends on, directly or through others. */
export function needed(policy: Policy): { states: ReadonlySet<string>; across: ReadonlySet<string> } {
  const states = new Set<string>();
  const across = new Set<string>();
  const visit = (node: Node | undefined): void => {
    for (const each of node ? walk(node) : []) {
      if (each.op === 'state' && !states.has(each.name)) {
        states.add(each.name);
        visit(policy.states.find((state) => state.name === each.name)?.next);
      } else if (each.op === 'across' && !across.has(each.name)) {
        across.add(each.name);
        visit(policy.across.find((statistic) => statistic.name === each.name)?.of);
      }
    }
  };
  visit(policy.score);
  return { states, across };
}

/** The author's mistakes that need the whole policy to see. */
export function verify(policy: Policy, gather?: Collector): Policy {
  return stage(gather, (errors) => {
    const incomplete = errors.any; // what a mistake took away would look unused, or missing
    checkNames(policy, errors);
    checkNumbers(policy, errors);
    checkSizes(policy, errors, incomplete);
    if (incomplete) return policy;
    checkUses(policy, errors);
    checkTypes(policy, 'lower');
    return policy;
  });
}

/** After simplify: what is wrong now is a bug of the compiler. */
export function verifySimplified(policy: Policy): Policy {
  checkTypes(policy, 'simplify');
  return policy;
}

const place = (policy: Policy, field: string): Span => policy.at[field] ?? policy.span;

/** Names of statistics become members of a C++ struct. */
const cppWords = new Set(
  `alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class compl
  concept const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype default delete do
  double dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace
  new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires return
  short signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef
  typeid typename union unsigned using virtual void volatile wchar_t while xor xor_eq Across NAN INFINITY`.split(/\s+/),
);

function checkNames(policy: Policy, errors: Collector): void {
  const plain = (name: string) => /^[a-zA-Z][a-zA-Z0-9_]{0,39}$/.test(name);
  const hint = 'letters, digits and _, a letter first, at most 40';
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(policy.name))
    errors.report(
      'bad-name',
      place(policy, 'name'),
      `"${policy.name}" cannot be a policy's name.`,
      'lower-case letters, digits and hyphens, at most 40, a letter first',
    );
  for (const { name } of policy.params) {
    const at = place(policy, `params.${name}`);
    if (!plain(name)) errors.report('bad-name', at, `"${name}" cannot be a parameter's name.`, hint);
    if (name === 'policy' || name === 'ratio')
      errors.report(
        'bad-name',
        at,
        `"${name}" cannot be a parameter's name: requests name their policy and ratio so.`,
        'choose another name, such as budget',
      );
  }
  for (const { name } of policy.states) {
    const at = place(policy, `accumulate.${name}`);
    if (!plain(name)) errors.report('bad-name', at, `"${name}" cannot be a state's name.`, hint);
    if (slotNames.has(name))
      errors.report(
        'duplicate-name',
        at,
        `slot.${name} exists already; a state needs a name of its own.`,
        'choose another name',
      );
  }
  const states = new Set(policy.states.map((state) => state.name));
  for (const { name } of policy.across) {
    const at = place(policy, `across.${name}`);
    if (!plain(name) || cppWords.has(name) || name.endsWith('_lane'))
      errors.report('bad-name', at, `"${name}" cannot be a statistic's name.`, `${hint}; words of C++ are taken`);
    if (states.has(name))
      errors.report(
        'duplicate-name',
        at,
        `${name} is a state already; a statistic needs a name of its own.`,
        'choose another name',
      );
  }
}

/** Numbers that have a range of their own. */
function checkNumbers(policy: Policy, errors: Collector): void {
  const refuse = (field: string, message: string, hint?: string) =>
    errors.report('param-out-of-range', place(policy, field), message, hint);
  if (policy.params.length > 16)
    refuse('params', `A policy has at most 16 parameters; this one has ${policy.params.length}.`);
  if (policy.states.length > 12)
    errors.report(
      'unsupported-on-target',
      place(policy, 'accumulate'),
      `A policy has at most 12 states; this one has ${policy.states.length}.`,
      'each state is a word beside every slot',
    );
  for (const { kind, name, min, max, default: value, span } of policy.params) {
    const report = (message: string) => errors.report('param-out-of-range', span, message);
    if (!(value >= min && value <= max)) report(`${name} is ${value}, outside ${min} … ${max}.`);
    else if (kind !== 'number' && min < 0) report(`${name} may be ${min}: a number of tokens is never negative.`);
    else if (kind === 'tokens' && !Number.isInteger(value))
      report(`${name} counts tokens: ${value} is not a whole number.`);
  }
  for (const state of policy.states)
    if (!Number.isFinite(state.init))
      refuse(`accumulate.${state.name}`, `${state.name} starts at ${state.init}; it must be a finite f32.`);
  const { pool, heads, layers, keep } = policy;
  if (pool && (pool.width % 2 !== 1 || pool.width < 1))
    errors.report(
      'pool-even',
      place(policy, 'pool'),
      `A width of ${pool.width} has no middle.`,
      'use an odd width, such as 5 or 7',
    );
  if (heads.kind === 'pooled' && !(heads.alpha >= 0 && heads.alpha <= 1))
    refuse('heads', `alpha is ${heads.alpha}, outside 0 … 1.`);
  if (layers.kind === 'pyramid' && !(layers.beta >= 1))
    refuse('layers', `beta is ${layers.beta}; it must be at least 1.`);
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
  if (policy.when.some((trigger) => !sensible(trigger)))
    refuse('when', 'A trigger counts whole tokens: every from 1, over from 0, promptChunk from 16.');
}

function sensible(trigger: Trigger): boolean {
  const whole = (n: number, least: number) => Number.isInteger(n) && n >= least;
  switch (trigger.kind) {
    case 'every':
      return trigger.n === 'auto' || whole(trigger.n, 1);
    case 'over':
      return whole(trigger.slack, 0);
    case 'promptChunk':
      return whole(trigger.n, 16);
    default:
      return true;
  }
}

/** Slots a size means by default; unknown for a fraction, which depends on the sequence. */
type Slots = number | 'fraction' | 'no size';

function slots(policy: Policy, size: Size): Slots {
  if ('tokens' in size) return Number.isInteger(size.tokens) && size.tokens >= 0 ? size.tokens : 'no size';
  const param = policy.params.find((each) => each.name === size.param);
  if (!param || param.kind === 'number') return 'no size';
  return param.kind === 'tokens' ? param.default : param.default > 0 ? 'fraction' : 0;
}

function checkSizes(policy: Policy, errors: Collector, incomplete: boolean): void {
  // a parameter that was mistaken itself is missing here
  const lost = (size: Size) => incomplete && 'param' in size && !policy.params.some((each) => each.name === size.param);
  const { window, keep, observe } = policy;
  const counted = 'It is counted in slots: a whole number, or a tokens or fraction parameter.';
  const [first, last] = [slots(policy, window.first), slots(policy, window.last)];
  if ((first === 'no size' && !lost(window.first)) || (last === 'no size' && !lost(window.last)))
    errors.report(
      'wrong-type',
      place(policy, 'window'),
      `The window has no size. ${counted}`,
      'window: { first: 4, last: 32 }',
    );
  if (typeof observe.prompt === 'object' && !lost(observe.prompt.last)) {
    const seen = slots(policy, observe.prompt.last);
    if (seen === 'no size' || seen === 0)
      errors.report(
        'wrong-type',
        place(policy, 'observe'),
        `The last 0 queries, or none that can be counted. ${counted}`,
        'observe: { last: 32 }',
      );
  }
  if (keep.kind === 'above' && !policy.score && !incomplete)
    errors.report('no-budget', place(policy, 'keep'), 'A threshold needs a score to compare.', 'score: (slot) => …');
  if ((keep.kind === 'above' || keep.kind === 'chunks') && policy.heads.kind === 'pooled')
    errors.report(
      'unsupported-on-target',
      place(policy, 'keep'),
      'Pooled heads share a budget: they need topK.',
      'keep: topK(…), or other heads',
    );
  if (keep.kind !== 'topK' && keep.kind !== 'chunks') return;
  const budget = slots(policy, keep.budget);
  if (lost(keep.budget)) return;
  if (budget === 'no size' || budget === 0)
    errors.report(
      'no-budget',
      place(policy, 'keep'),
      'The budget must be a whole number of slots above 0, or a tokens or fraction parameter.',
      "keep: topK('budget') with params: { budget: tokens(512) }",
    );
  else if (typeof budget === 'number' && !keep.besides) {
    const protects = [first, last].reduce((sum: number, part) => sum + (typeof part === 'number' ? part : 0), 0);
    if (protects > budget)
      errors.report(
        'window-exceeds-budget',
        place(policy, 'window'),
        `The window protects ${protects} slots, the budget is ${budget}.`,
        "protected slots count towards the budget: raise it, shrink the window, or keep it { besides: 'protected' }",
      );
  }
}

function checkUses(policy: Policy, errors: Collector): void {
  const { states } = needed(policy);
  for (const { name } of policy.states)
    if (!states.has(name))
      errors.report(
        'state-never-read',
        place(policy, `accumulate.${name}`),
        `Nothing that the score depends on reads ${name}.`,
        `score: (slot) => slot.${name}, or drop it`,
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

/** Well-formedness that no author can break: names that exist, types of operands, known builtins. */
function checkTypes(policy: Policy, after: string): void {
  const params = new Set(policy.params.map((param) => param.name));
  const states = new Set(policy.states.map((state) => state.name));
  const across = new Map(policy.across.map((each) => [each.name, each.of.type]));
  const sound = (node: Node): boolean => {
    switch (node.op) {
      case 'const':
        return node.type === 'bool'
          ? typeof node.value === 'boolean'
          : Object.is(Math.fround(node.value as number), node.value);
      case 'slot':
        return slotTypes[node.field] === node.type;
      case 'state':
        return states.has(node.name);
      case 'param':
        return params.has(node.name);
      case 'across':
        return across.get(node.name) === node.type;
      case 'unary':
        return node.type === (node.fn === 'neg' ? 'f32' : 'bool') && node.a.type === node.type;
      case 'binary': {
        const logical = node.fn === 'and' || node.fn === 'or';
        const arithmetic = ['add', 'sub', 'mul', 'div'].includes(node.fn);
        const from = logical ? 'bool' : 'f32';
        return node.a.type === from && node.b.type === from && node.type === (arithmetic ? 'f32' : 'bool');
      }
      case 'select':
        return node.cond.type === 'bool' && node.then.type === node.type && node.else.type === node.type;
      case 'call': {
        const known = builtin(node.fn);
        return known?.result === node.type && known.args.every((type, i) => node.args[i]?.type === type);
      }
    }
  };
  for (const [from, root] of expressions(policy))
    for (const node of walk(root))
      if (!sound(node))
        throw new InternalError(
          `verify failed after ${after}: ${node.op} in ${from} of ${policy.name}, line ${node.span.line}`,
        );
}
