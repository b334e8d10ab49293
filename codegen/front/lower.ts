/** The policy's object literal → IR: declarative fields evaluated, functions lowered, all mistakes gathered. */
import { Node as Ast, type Expression, type PropertyAssignment } from 'ts-morph';
import { constant, nameOf, NotConstant } from './constant.ts';
import { type Collector, stage } from '../ir/diagnostics.ts';
import { acrossValue, Lowering, slotValue } from './expression.ts';
import { stateForms, statisticForms } from './forms.ts';
import type {
  Across,
  Keep,
  Node,
  Observe,
  Param,
  Partitions,
  Policy,
  Rule,
  Size,
  Span,
  State,
  Table,
  Trigger,
  Type,
  Window,
} from '../ir/nodes.ts';
import { type Syntax, spanOf } from './read.ts';
import { historyStates } from './history.ts';
import { fits, isField, isParam } from './shapes.ts';
import type { Scope } from './statements.ts';

const reductions = ['mean', 'sum', 'max', 'min'] as const;
/** Those that are a number of each slot's own, and read other statistics. */
const places = ['softmax', 'rank'] as const;

/** With `gather`, mistakes go there and the policy may lack what was mistaken; without, they are thrown. */
export function lower({ literal, doc }: Syntax, gather?: Collector): Policy {
  return stage(gather, (errors) => new Declaration(literal, errors).policy(doc));
}

const size = (value: unknown): Size => (typeof value === 'string' ? { param: value } : { tokens: Number(value ?? 0) });

/** A definePolicy literal while it becomes a Policy. */
class Declaration {
  private readonly at: Record<string, Span> = {};

  constructor(
    private readonly literal: Ast,
    private readonly errors: Collector,
  ) {
    for (const [name, property] of this.members(literal)) {
      this.at[name] = spanOf(property);
      if (!isField(name)) errors.report('wrong-type', spanOf(property), `There is no field ${name}.`, 'leave it out');
    }
  }

  policy(doc: string): Policy {
    const params = this.params();
    const states = this.members(
      this.written('accumulate', 'accumulate: { mass: { init: 0, next: (mass, slot) => … } }'),
    );
    const statistics = this.members(this.written('across', 'across: { anchor: { mean: (slot) => slot.key } }'));
    const tables: Table[] = [];
    const scope = (attention: boolean, across: Scope['across']): Scope => ({
      errors: this.errors,
      attention,
      tables,
      across,
      statistics: new Set(statistics.keys()),
      states: new Set(states.keys()),
      params: new Set(params.keys()),
      histories: new Set([...states].filter(([, each]) => this.isHistory(each)).map(([name]) => name)),
    });
    const across = this.across(statistics, (above) => scope(false, above));
    const accumulated = [...states].flatMap(([name, property]) => this.state(name, property, scope(true, new Map())));
    const scoreNode = this.field('score');
    const types = new Map([...across].map(([name, each]): [string, Type | undefined] => [name, each?.of.type]));
    const score =
      scoreNode && new Lowering(scope(false, types)).callback(scoreNode, scoreNode, [slotValue, acrossValue], ['f32']);

    const window =
      this.data<{ first?: unknown; last?: unknown; prompt?: boolean; classes?: Window['classes'] }>('window') ?? {};
    const keep = this.data<RawKeep>('keep') ?? { kind: 'all' };
    if (keep.kind === 'profile') this.ends(keep.rules ?? []);
    const when = this.field('when')
      ? (this.several('when') as RawTrigger[]).map(triggered)
      : [{ kind: 'over' as const, slack: 0 }];
    const heads = this.data<string | Policy['heads']>('heads') ?? 'own';
    const layers = this.data<string | number[] | Policy['layers']>('layers') ?? 'uniform';
    return {
      name: this.data<string>('name') ?? '',
      doc,
      span: spanOf(this.literal),
      params: [...params.values()].filter((param) => param !== undefined),
      observe: observed(this.several('observe')),
      group: this.data<Policy['group']>('group') ?? 'mean',
      states: accumulated,
      across: [...across.values()].filter((each) => each !== undefined),
      partitions: this.partitions(),
      score: score || undefined,
      tables,
      pool: this.data<Policy['pool']>('pool'),
      heads: typeof heads === 'string' ? ({ kind: heads } as Policy['heads']) : heads,
      layers: Array.isArray(layers)
        ? { kind: 'table', factors: layers }
        : typeof layers === 'string'
          ? { kind: 'uniform' }
          : layers,
      keep: kept(keep, this.at.keep ?? spanOf(this.literal)),
      window: {
        first: size(window.first),
        last: size(window.last),
        prompt: window.prompt ?? false,
        classes: window.classes ?? [],
      },
      when: keep.kind === 'all' ? [] : when,
      positions: this.data<Policy['positions']>('positions') ?? 'original',
      store: this.data<Policy['store']>('store') ?? 'engine',
      place: this.data<Policy['place']>('place') ?? 'engine',
      at: this.at,
    };
  }

  /** Rules of a profile that do not end with everything. */
  private ends(rules: readonly RawRule[]): void {
    const all = rules.findIndex(({ kind }) => kind === 'all');
    if (rules.length > 1 && all === rules.length - 1) return;
    this.errors.report(
      'profile-rules',
      this.at.keep,
      'A profile has a rule or more, then everything, so that a head always finds one that keeps enough.',
      "profile(0.95, 'mass', [{ classes: ['special'] }, everything])",
    );
  }

  private field(name: string): Expression | undefined {
    return this.members(this.literal).get(name)?.getInitializer();
  }

  /** A field whose members the compiler reads one by one. */
  private written(name: string, example: string): Expression | undefined {
    const node = this.field(name);
    if (node && !Ast.isObjectLiteralExpression(node))
      this.errors.report('unsupported-syntax', spanOf(node), `Write ${name} in place, as an object.`, example);
    return node;
  }

  /** Named members of an object literal, in order. */
  private members(node: Ast | undefined): Map<string, PropertyAssignment> {
    const found = new Map<string, PropertyAssignment>();
    if (!Ast.isObjectLiteralExpression(node)) return found;
    for (const property of node.getProperties()) {
      if (Ast.isPropertyAssignment(property)) found.set(nameOf(property), property);
      else
        this.errors.report(
          'unsupported-syntax',
          spanOf(property),
          'Write every field of a policy as name: value.',
          'the compiler reads the text, it does not run it',
        );
    }
    return found;
  }

  /** A declarative field's value, or undefined when it is absent or mistaken. */
  private data<T>(name: string, node = this.field(name)): T | undefined {
    if (!node) return undefined;
    try {
      const value = constant(node);
      if (fits(name, value)) return value as T;
      this.errors.report(
        'wrong-type',
        spanOf(node),
        `${name} cannot be this.`,
        'leave out what silences TypeScript: it says what fits',
      );
      return undefined;
    } catch (error) {
      if (!(error instanceof NotConstant)) throw error;
      const hint = 'the compiler must know this value: write it out, or use a const of the module';
      this.errors.report('non-constant-capture', spanOf(error.node), `${name}: ${error.why}.`, hint);
      return undefined;
    }
  }

  /** The rules of a field that may be a list; each kind once, for a second one would be another rule for the same thing. */
  private several(name: string): unknown[] {
    const rules = list(this.data(name));
    const kinds = rules.map((rule) => (rule as { kind?: string }).kind ?? (typeof rule === 'object' ? 'last' : rule));
    const twice = kinds.find((kind, i) => kinds.indexOf(kind) < i);
    const node = this.field(name);
    if (name === 'observe' && node && kinds.length > 1 && kinds.includes('every'))
      this.errors.report(
        'field-unused',
        spanOf(node),
        'Every query is observed: the others add none.',
        "observe: 'every'",
      );
    if (node && twice !== undefined)
      this.errors.report('duplicate-name', spanOf(node), `${name} has ${twice} twice.`, 'leave the one that you mean');
    if (Ast.isArrayLiteralExpression(node) && node.getElements().length === 0)
      this.errors.report('wrong-type', spanOf(node), `${name} is an empty list.`, 'name a rule, or leave it out');
    return rules;
  }

  /** Parameters by name; undefined for one that is mistaken. */
  private params(): Map<string, Param | undefined> {
    const node = this.written('params', 'params: { budget: tokens(512) }');
    return new Map(
      [...this.members(node)].map(([name, property]) => {
        this.at[`params.${name}`] = spanOf(property.getNameNode());
        const value = this.data<Omit<Param, 'name' | 'span'>>(`params.${name}`, property.getInitializer());
        if (value === undefined || isParam(value))
          return [name, value && ({ ...value, name, span: spanOf(property) } as Param)];
        this.errors.report(
          'wrong-type',
          spanOf(property),
          `${name} is no parameter.`,
          'tokens(512), fraction(0.25) or number(1)',
        );
        return [name, undefined];
      }),
    );
  }

  /** Statistics in the order written. `scopeOf`: what one may read that sees those above it. */
  private across(
    statistics: Map<string, PropertyAssignment>,
    scopeOf: (above: Scope['across']) => Scope,
  ): Map<string, Across | undefined> {
    const found = new Map<string, Across | undefined>();
    const types = new Map<string, Type | undefined>();
    for (const [name, property] of statistics) {
      this.at[`across.${name}`] = spanOf(property.getNameNode());
      found.set(name, this.statistic(name, property, scopeOf(types)));
      types.set(name, found.get(name)?.of.type);
    }
    return found;
  }

  private statistic(name: string, property: PropertyAssignment, scope: Scope): Across | undefined {
    const members = this.members(property.getInitializer());
    const next = members.get('partition');
    const [[reduce, of] = [], second] = [...members].filter(([, each]) => each !== next);
    const known = reductions.find((each) => each === reduce);
    const place = places.find((each) => each === reduce);
    if (place && of && !second && !next) {
      const node = new Lowering(scope).callback(of.getInitializer(), of, [slotValue, acrossValue], ['f32']);
      return node && { name, reduce: place, of: node };
    }
    const [count, ranked] = [members.get('nth'), members.get('of')];
    if (count && ranked && members.size === 2) {
      const value = this.data<number | string>('nth', count.getInitializer());
      const node = new Lowering(scope).callback(ranked.getInitializer(), ranked, [slotValue], ['f32']);
      return node && value !== undefined
        ? { name, reduce: 'nth', n: constantOrParam(value, spanOf(count)), of: node }
        : undefined;
    }
    if (!known || !of || second || (next && known !== 'max' && known !== 'min')) {
      this.errors.report(
        'unsupported-syntax',
        spanOf(property),
        "A statistic is mean, sum, max, min, softmax or rank of a function, max or min with partition: 'next', or nth with of.",
        statisticForms,
      );
      return undefined;
    }
    const node = new Lowering(scope).callback(of.getInitializer(), of, [slotValue], ['f32', 'vec']);
    const partition = next && this.data<'next'>('partition', next.getInitializer());
    return node && { name, reduce: known, ...(partition && { partition }), of: node };
  }

  private partitions(): Partitions | undefined {
    const rule = this.data<{ first?: number | string; size: number | string }>('partitions');
    const span = this.at.partitions;
    return rule && { first: constantOrParam(rule.first ?? 0, span), size: constantOrParam(rule.size, span) };
  }

  private state(name: string, property: PropertyAssignment, scope: Scope): State[] {
    this.at[`accumulate.${name}`] = spanOf(property.getNameNode());
    const fields = this.members(property.getInitializer());
    const [next, init, once] = [fields.get('next'), fields.get('init'), fields.get('once')];
    if (this.isHistory(property)) return this.history(name, fields, scope);
    if (once && fields.size === 1) {
      const node = new Lowering(scope).callback(once.getInitializer(), once, [slotValue], ['f32']);
      return node ? [{ name, init: 0, next: node, once: true }] : [];
    }
    if (!next || !init || once) {
      this.errors.report('unsupported-syntax', spanOf(property), 'A state is written in place.', stateForms);
      return [];
    }
    const start = this.data<number>('init', init.getInitializer());
    const self: Node = { op: 'state', type: 'f32', name, span: spanOf(next) };
    const node = new Lowering(scope).callback(next.getInitializer(), next, [self, slotValue], ['f32']);
    return node ? [{ name, init: Math.fround(Number(start ?? 0)), next: node }] : [];
  }

  private isHistory(property: PropertyAssignment): boolean {
    const fields = this.members(property.getInitializer());
    return fields.size === 2 && fields.has('last') && fields.has('sum');
  }

  private history(name: string, fields: Map<string, PropertyAssignment>, scope: Scope): State[] {
    const [last, sum] = [fields.get('last')!, fields.get('sum')!];
    const queries = this.data<number | string>('last', last.getInitializer());
    const added = new Lowering(scope).callback(sum.getInitializer(), sum, [slotValue], ['f32']);
    return added && queries !== undefined
      ? historyStates(name, constantOrParam(queries, spanOf(last)), added, this.data('group') === 'none')
      : [];
  }
}

const list = (value: unknown): unknown[] => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

function observed(rules: unknown[]): Observe {
  const last = rules.find((each) => typeof each === 'object') as { last: unknown } | undefined;
  return {
    prompt: rules.includes('every') ? 'every' : last ? { last: size(last.last) } : 'none',
    decode: rules.includes('every') || rules.includes('decode'),
  };
}

/** A trigger as its helper makes it: parameters by name alone. */
type RawTrigger = { kind: Trigger['kind']; tokens?: number | string; slack?: number | string };

function triggered(raw: RawTrigger): Trigger {
  const { kind, tokens, slack } = raw;
  const count = (given: number | string | undefined) => (typeof given === 'string' ? { param: given } : given);
  if (kind === 'over') return { kind, slack: count(slack)! };
  if (kind === 'promptChunk') return { kind, n: count(tokens)! };
  return raw as Trigger;
}

interface RawKeep {
  kind: string;
  budget?: unknown;
  threshold?: unknown;
  size?: number;
  besides?: 'protected';
  reach?: unknown;
  of?: string;
  rules?: readonly RawRule[];
}

/** A rule of a profile; everything has a kind. */
interface RawRule {
  kind?: 'all';
  classes?: Rule['classes'];
  top?: unknown;
  last?: unknown;
}

/** A number that a declaration gives, or names. */
const constantOrParam = (value: unknown, span: Span): Node =>
  typeof value === 'string'
    ? { op: 'param', type: 'f32', name: value, span }
    : { op: 'const', type: 'f32', value: Math.fround(Number(value)), span };

const budgetOf = ({ budget, besides }: RawKeep) => ({ budget: size(budget), ...(besides && { besides }) });

function kept(keep: RawKeep, span: Span): Keep {
  switch (keep.kind) {
    case 'topK':
      return { kind: 'topK', ...budgetOf(keep) };
    case 'chunks':
      return { kind: 'chunks', size: Number(keep.size), ...budgetOf(keep) };
    case 'above':
      return { kind: 'above', threshold: constantOrParam(keep.threshold, span) };
    case 'profile':
      return {
        kind: 'profile',
        reach: constantOrParam(keep.reach, span),
        mass: keep.of ?? '',
        rules: (keep.rules ?? [])
          .filter(({ kind }) => kind === undefined)
          .map(({ classes = [], top, last }) => ({ classes, top: size(top), last: size(last) })),
      };
    default:
      return { kind: 'all' };
  }
}
