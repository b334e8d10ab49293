/** The policy's object literal → IR: declarative fields evaluated, functions lowered, all mistakes gathered. */
import { type Expression, Node as Ast } from 'ts-morph';
import { NotConstant, constant } from './constant.ts';
import { Collector } from './diagnostics.ts';
import { Lowering, type Scope, acrossValue, slotValue } from './expression.ts';
import type { Across, Keep, Node, Observe, Param, Policy, Size, Span, State, Trigger, Type, Window } from './ir.ts';
import { type Syntax, spanOf } from './read.ts';

const size = (value: unknown): Size => (typeof value === 'string' ? { param: value } : { tokens: Number(value ?? 0) });

export function lower({ literal, doc }: Syntax): Policy {
  const errors = new Collector();
  const field = (name: string): Expression | undefined => {
    const property = literal.getProperty(name);
    return Ast.isPropertyAssignment(property) ? property.getInitializer() : undefined;
  };
  for (const property of literal.getProperties())
    if (!Ast.isPropertyAssignment(property))
      errors.report('unsupported-syntax', spanOf(property), 'Write every field of a policy as name: value.');

  /** A declarative field's value, or undefined when it is absent or not constant. */
  const data = <T>(name: string): T | undefined => {
    const node = field(name);
    if (!node) return undefined;
    try {
      return constant(node) as T;
    } catch (error) {
      if (!(error instanceof NotConstant)) throw error;
      errors.report(
        'non-constant-capture',
        spanOf(error.node),
        `${name}: ${error.why}.`,
        'the compiler must know this value: write it out, or use a const of the module',
      );
      return undefined;
    }
  };
  const spanAt = (name: string): Span => spanOf(field(name) ?? literal);

  const params = Object.entries(data<Record<string, Omit<Param, 'name' | 'span'>>>('params') ?? {}).map(
    ([name, value]) => ({ ...value, name, span: memberSpan(field('params'), name) }) as Param,
  );
  const states = members(field('accumulate'));
  const statistics = members(field('across'));
  const scope = (attention: boolean, across: ReadonlyMap<string, Type>): Scope => ({
    errors,
    attention,
    across,
    states: new Set(states.keys()),
    params: new Set(params.map((param) => param.name)),
  });

  const across: Across[] = [];
  for (const [name, node] of statistics) {
    const call = Ast.isCallExpression(node) ? node : undefined;
    const reduce = ({ mean: 'mean', peak: 'max', total: 'sum', least: 'min' } as const)[
      call?.getExpression().getText() ?? ''
    ];
    if (!call || !reduce) {
      errors.report(
        'unsupported-syntax',
        spanOf(node),
        'A statistic is mean(slot => …), total(…), peak(…) or least(…).',
      );
      continue;
    }
    const of = new Lowering(scope(false, new Map())).callback(call.getArguments()[0], [slotValue], ['f32', 'vec']);
    if (of) across.push({ name, reduce, of });
  }
  const acrossTypes = new Map(across.map((each) => [each.name, each.of.type]));

  const accumulated: State[] = [];
  for (const [name, node] of states) {
    const next = members(node).get('next');
    const init = members(node).get('init');
    if (!next || !init) {
      errors.report(
        'unsupported-syntax',
        spanOf(node),
        'A state is { init: number, next: (state, slot) => number }, written in place.',
      );
      continue;
    }
    let start = 0;
    try {
      start = Math.fround(Number(constant(init)));
    } catch {
      errors.report('non-constant-capture', spanOf(init), `The initial value of ${name} must be a constant.`);
    }
    const self: Node = { op: 'state', type: 'f32', name, span: spanOf(next) };
    const lowered = new Lowering(scope(true, new Map())).callback(next, [self, slotValue], ['f32']);
    if (lowered) accumulated.push({ name, init: start, next: lowered });
  }

  const scoreNode = field('score');
  const score =
    scoreNode && new Lowering(scope(false, acrossTypes)).callback(scoreNode, [slotValue, acrossValue], ['f32']);

  const window =
    data<{ first?: unknown; last?: unknown; prompt?: boolean; classes?: Window['classes'] }>('window') ?? {};
  const keep = data<{ kind: string; budget?: unknown; threshold?: unknown; size?: number }>('keep') ?? { kind: 'all' };
  const when = data<Trigger | Trigger[]>('when') ?? { kind: 'over', slack: 0 };
  const heads = data<string | Policy['heads']>('heads') ?? 'own';
  const layers = data<string | number[] | Policy['layers']>('layers') ?? 'uniform';
  const policy: Policy = {
    name: data<string>('name') ?? '',
    doc,
    span: spanOf(literal),
    params,
    observe: observed(data('observe')),
    group: data<Policy['group']>('group') ?? 'mean',
    states: accumulated,
    across,
    score: score || undefined,
    pool: data<Policy['pool']>('pool'),
    heads: typeof heads === 'string' ? ({ kind: heads } as Policy['heads']) : heads,
    layers: Array.isArray(layers)
      ? { kind: 'table', factors: layers }
      : typeof layers === 'string'
        ? { kind: 'uniform' }
        : layers,
    keep: kept(keep, spanAt('keep')),
    window: {
      first: size(window.first),
      last: size(window.last),
      prompt: window.prompt ?? false,
      classes: window.classes ?? [],
    },
    when: keep.kind === 'all' ? [] : Array.isArray(when) ? when : [when],
    positions: data<Policy['positions']>('positions') ?? 'original',
    store: data<Policy['store']>('store') ?? 'engine',
    at: Object.fromEntries(
      literal
        .getProperties()
        .filter(Ast.isPropertyAssignment)
        .map((property) => [property.getName(), spanOf(property)]),
    ),
  };
  errors.done();
  return policy;
}

/** Named members of an object literal field, in order. */
function members(node: Expression | undefined): Map<string, Expression> {
  const found = new Map<string, Expression>();
  if (!Ast.isObjectLiteralExpression(node)) return found;
  for (const property of node.getProperties())
    if (Ast.isPropertyAssignment(property)) found.set(property.getName(), property.getInitializerOrThrow());
  return found;
}

function memberSpan(node: Expression | undefined, name: string): Span {
  const member = members(node).get(name);
  return spanOf(member?.getParent() ?? node!);
}

function observed(rule: unknown): Observe {
  const rules = rule === undefined ? [] : Array.isArray(rule) ? rule : [rule];
  const last = rules.find((each) => typeof each === 'object') as { last: unknown } | undefined;
  return {
    prompt: rules.includes('every') ? 'every' : last ? { last: size(last.last) } : 'none',
    decode: rules.includes('every') || rules.includes('decode'),
  };
}

function kept(keep: { kind: string; budget?: unknown; threshold?: unknown; size?: number }, span: Span): Keep {
  switch (keep.kind) {
    case 'topK':
      return { kind: 'topK', budget: size(keep.budget) };
    case 'chunks':
      return { kind: 'chunks', size: keep.size!, budget: size(keep.budget) };
    case 'above':
      return {
        kind: 'above',
        threshold:
          typeof keep.threshold === 'string'
            ? { op: 'param', type: 'f32', name: keep.threshold, span }
            : { op: 'const', type: 'f32', value: Math.fround(Number(keep.threshold)), span },
      };
    default:
      return { kind: 'all' };
  }
}
