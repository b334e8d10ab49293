/**
 * TypeScript function → IR: one table keyed by SyntaxKind. Names and calls are resolved by declaration. Anything not in
 * the table is a diagnostic, never a guess; a mistake does not hide the next one.
 */
import {
  type ArrowFunction,
  Node as Ast,
  type BinaryExpression,
  type CallExpression,
  type FunctionDeclaration,
  type IfStatement,
  type Statement,
  SyntaxKind,
  ts,
} from 'ts-morph';
import { builtin, builtins } from './builtins.ts';
import { constInitializer, declaredIn, definition } from './constant.ts';
import { Collector, type Slug } from './diagnostics.ts';
import { instead, operators, says } from './forms.ts';
import { type Node, type SlotField, type Span, slotTypes, type Type } from './ir.ts';
import { spanOf } from './read.ts';

/** What a name stands for while lowering; a mistake was reported where the name was given its value. */
type Value = Node | { readonly is: 'slot' | 'params' | 'across' | 'mistake' };

export const slotValue: Value = { is: 'slot' };
export const acrossValue: Value = { is: 'across' };

/** The surroundings of one function: which names of the policy it may read. */
export interface Scope {
  readonly errors: Collector;
  readonly states: ReadonlySet<string>;
  readonly params: ReadonlySet<string>;
  /** undefined: a statistic whose own mistake was reported */
  readonly across: ReadonlyMap<string, Type | undefined>;
  /** attn is one query's: only `next` has it */
  readonly attention: boolean;
}

/** A mistake that has been reported already; unwinds to where the next part begins. */
class Reported extends Error {}

type FunctionLike = ArrowFunction | FunctionDeclaration;

/** Calls one function may expand to: far above any sensible policy, far below what a compiler chokes on. */
const MOST_CALLS = 2000;

const isLoop = (node: Ast): boolean => Ast.isIterationStatement(node);
const statementsOf = (body: Statement): Statement[] => (Ast.isBlock(body) ? body.getStatements() : [body]);

/** Does every part although one fails, then fails: each part's mistake is reported. */
function all<T>(parts: readonly (() => T)[]): T[] {
  let failed: Reported | undefined;
  const results: T[] = [];
  for (const part of parts) {
    try {
      results.push(part());
    } catch (error) {
      if (!(error instanceof Reported)) throw error;
      failed = error;
    }
  }
  if (failed) throw failed;
  return results;
}

/** Lowers what follows an `if` once, however many branches run into it. */
function once(make: () => Node): () => Node {
  let made: Node | Reported | undefined;
  return () => {
    if (made === undefined) {
      try {
        made = make();
      } catch (error) {
        if (!(error instanceof Reported)) throw error;
        made = error;
      }
    }
    if (made instanceof Reported) throw made;
    return made;
  };
}

export class Lowering {
  private readonly env = new Map<Ast, Value>();

  /** `path`: the functions and constants being written out, outermost first. `spent` counts calls. */
  constructor(
    private readonly scope: Scope,
    private readonly path: readonly Ast[] = [],
    private readonly spent = { calls: 0 },
  ) {}

  /** Lowers a callback whose parameters stand for `args`; undefined after reported mistakes. */
  callback(fn: Ast | undefined, at: Ast, args: readonly Value[], result: readonly Type[]): Node | undefined {
    try {
      if (!Ast.isArrowFunction(fn))
        return this.fail(
          'unsupported-syntax',
          fn ?? at,
          'This must be an arrow function, written in place.',
          '(slot) => …',
        );
      const node = this.inline(fn, args, fn);
      if (!result.includes(node.type)) {
        const wanted = result.map((type) => says[type]).join(' or ');
        this.fail('wrong-type', fn.getBody(), `This must be ${wanted}; it is ${says[node.type]}.`);
      }
      return node;
    } catch (error) {
      if (error instanceof Reported) return undefined;
      throw error;
    }
  }

  private fail(slug: Slug, at: Ast, message: string, hint?: string): never {
    this.scope.errors.report(slug, spanOf(at), message, hint);
    throw new Reported();
  }

  /** The body of a function with its parameters bound. */
  private inline(fn: FunctionLike, args: readonly Value[], at: Ast): Node {
    fn.getParameters().forEach((parameter, i) => {
      if (parameter.isRestParameter() || parameter.hasInitializer())
        this.fail('unsupported-syntax', parameter, 'Parameters are plain names here.', 'pass every value in the call');
      if (args[i] !== undefined) this.bind(parameter.getNameNode(), parameter, args[i]);
    });
    const body = fn.getBody();
    if (!body) this.fail('unknown-call', at, 'This function has no body to compile.');
    return Ast.isBlock(body) ? this.block(body.getStatements(), body) : this.node(body!);
  }

  /** Binds a name, or the names of a destructuring pattern, to a value. */
  private bind(name: Ast, declaration: Ast, value: Value): void {
    if (Ast.isIdentifier(name)) {
      this.env.set(declaration, value);
      return;
    }
    if (!Ast.isObjectBindingPattern(name))
      this.fail('unsupported-syntax', name, 'Only names and { … } patterns can be bound.');
    all(
      name.getElements().map((element) => () => {
        this.env.set(element, { is: 'mistake' });
        if (element.getDotDotDotToken() || element.hasInitializer())
          this.fail('unsupported-syntax', element, 'Rest and default values are not part of the language.');
        const field = element.getPropertyNameNode()?.getText() ?? element.getName();
        this.bind(element.getNameNode(), element, this.property(value, field, element));
      }),
    );
  }

  /** Statements → one expression: const binds, `if` selects, return ends. `after` is what follows the block. */
  private block(statements: readonly Statement[], at: Ast, after?: () => Node): Node {
    const end = statements.findIndex((each) => Ast.isReturnStatement(each) || Ast.isIfStatement(each));
    const plain = end < 0 ? statements : statements.slice(0, end);
    const result = (): Node => {
      const last = statements[end];
      if (Ast.isIfStatement(last))
        return this.branch(
          last,
          once(() => this.block(statements.slice(end + 1), at, after)),
        );
      if (Ast.isReturnStatement(last)) {
        const value = last.getExpression();
        return value ? this.node(value) : this.fail('wrong-type', last, 'A value must be returned.');
      }
      if (plain.some(isLoop)) throw new Reported();
      return after ? after() : this.fail('wrong-type', at, 'Not every path returns a value.', 'end with return');
    };
    return all<Node | undefined>([...plain.map((each) => () => this.statement(each, at)), result]).at(-1)!;
  }

  private branch(statement: IfStatement, rest: () => Node): Node {
    const [thenBody, elseBody] = [statement.getThenStatement(), statement.getElseStatement()];
    const [cond, then, other] = all([
      () => this.typed(statement.getExpression(), 'bool'),
      () => this.block(statementsOf(thenBody), thenBody, rest),
      () => (elseBody ? this.block(statementsOf(elseBody), elseBody, rest) : rest()),
    ]);
    return this.select(statement, spanOf(statement), cond, then, other);
  }

  private select(at: Ast, span: Span, cond: Node, then: Node, other: Node): Node {
    if (then.type !== other.type)
      this.fail('wrong-type', at, `The branches are ${says[then.type]} and ${says[other.type]}.`);
    // biome-ignore lint/suspicious/noThenProperty: the IR's word
    return { op: 'select', type: then.type, cond, then, else: other, span };
  }

  /** A statement that is neither `if` nor return: only const has a use. */
  private statement(statement: Statement, block: Ast): undefined {
    if (isLoop(statement)) this.refuseLoop(statement);
    if (Ast.isExpressionStatement(statement)) {
      this.value(statement.getExpression());
      this.fail('unsupported-syntax', statement, 'A statement without effect is not part of the language.', 'drop it');
    }
    if (!Ast.isVariableStatement(statement)) {
      const hint = instead[statement.getKind()] ?? 'use const, if with return, and return';
      this.fail('unsupported-syntax', statement, `${statement.getKindName()} is not part of the language.`, hint);
    }
    all(
      statement.getDeclarations().map((declaration) => () => {
        this.env.set(declaration, { is: 'mistake' });
        if (statement.getDeclarationKind() !== 'const') {
          const loop = block.getDescendants().find(isLoop); // a variable for a loop: the loop is the mistake
          if (loop) this.refuseLoop(loop);
          this.fail('mutation', statement, 'Nothing may change inside a policy function.', stateHint);
        }
        const initializer = declaration.getInitializer();
        if (!initializer) this.fail('unsupported-syntax', declaration, 'A const needs a value.');
        this.bind(declaration.getNameNode(), declaration, this.value(initializer!));
      }),
    );
    return undefined;
  }

  /** Points at the loop's first word. */
  private refuseLoop(loop: Ast): never {
    const message = 'A score is one expression per slot; a loop has no bound the kernel can know.';
    const hint = 'write it in closed form, for example slot.attn * pow(0.98, slot.age)';
    return this.fail('loop-in-score', loop.getFirstChild() ?? loop, message, hint);
  }

  private typed(ast: Ast, type: Type): Node {
    const node = this.node(ast);
    if (node.type !== type) {
      const hint = type === 'bool' && node.type === 'f32' ? 'compare it: x > 0' : undefined;
      this.fail('wrong-type', ast, `Here ${says[type]} is needed; this is ${says[node.type]}.`, hint);
    }
    return node;
  }

  /** An expression that is a value of the language (not the slot itself). */
  private node(ast: Ast): Node {
    const value = this.value(ast);
    if ('is' in value) this.fail('wrong-type', ast, `${ast.getText()} is not a value; read one of its fields.`);
    return value as Node;
  }

  private value(ast: Ast): Value {
    const lower = table[ast.getKind()];
    const refused = () => `${ast.getKindName()} is not part of the language.`;
    const value = lower
      ? lower.call(this, ast, spanOf(ast))
      : this.fail('unsupported-syntax', ast, refused(), instead[ast.getKind()]);
    if ('is' in value && value.is === 'mistake') throw new Reported();
    return value;
  }

  private property(base: Value, field: string, at: Ast): Value {
    const span = spanOf(at);
    if (!('is' in base))
      this.fail('unsupported-syntax', at, 'Numbers and vectors have no fields.', 'use dot, norm, scale …');
    const { is } = base as { is: string };
    if (is === 'params' && this.scope.params.has(field)) return { op: 'param', type: 'f32', name: field, span };
    if (is === 'across' && this.scope.across.has(field)) {
      const type = this.scope.across.get(field);
      return type ? { op: 'across', type, name: field, span } : { is: 'mistake' };
    }
    if (is === 'slot') {
      if (field === 'params') return { is: 'params' };
      if (this.scope.states.has(field)) return { op: 'state', type: 'f32', name: field, span };
      if (field === 'attn' && !this.scope.attention) {
        const message = 'slot.attn belongs to one query; a score is asked when no query is there.';
        const hint = 'accumulate it: latest: { init: 0, next: (_, slot) => slot.attn }, then read slot.latest';
        this.fail('attention-outside-next', at, message, hint);
      }
      if (Object.hasOwn(slotTypes, field)) {
        const known = field as SlotField;
        return { op: 'slot', type: slotTypes[known], field: known, span };
      }
    }
    return this.fail('unsupported-syntax', at, `There is no ${field} here.`);
  }

  private call(ast: CallExpression, span: Span): Value {
    const callee = ast.getExpression();
    const declaration = definition(callee);
    const args = ast.getArguments();
    const fn = declaredIn('math.ts', declaration);
    const known = fn === undefined ? undefined : builtin(fn);
    if (fn !== undefined && known) {
      if (args.length !== known.args.length)
        this.fail('wrong-type', ast, `${fn} takes ${known.args.length} values; this gives it ${args.length}.`);
      const nodes = all(known.args.map((type, i) => () => this.typed(args[i], type)));
      return { op: 'call', type: known.result, fn, args: nodes, span };
    }
    const helper = Ast.isVariableDeclaration(declaration) ? constInitializer(declaration) : declaration;
    if (isHelper(helper)) return this.helper(helper, ast);
    return this.refuseCall(ast, declaration);
  }

  /** Writes a helper out in place of its call. */
  private helper(fn: FunctionLike, ast: CallExpression): Node {
    if (this.path.includes(fn))
      this.fail(
        'unsupported-syntax',
        ast,
        'Functions may not call themselves: each call is written out in the kernel.',
        'write it in closed form',
      );
    if (++this.spent.calls > MOST_CALLS)
      this.fail(
        'unsupported-syntax',
        ast,
        `This expands to more than ${MOST_CALLS} calls.`,
        'name values with const instead of computing them again',
      );
    const values = all(ast.getArguments().map((argument) => () => this.value(argument)));
    if (values.length !== fn.getParameters().length)
      this.fail(
        'wrong-type',
        ast,
        `This function takes ${fn.getParameters().length} values; it is given ${values.length}.`,
      );
    return new Lowering(this.scope, [...this.path, fn], this.spent).inline(fn, values, ast);
  }

  private refuseCall(ast: CallExpression, declaration: Ast | undefined): never {
    const name = ast.getExpression().getText();
    const foreign = !declaration || declaration.getSourceFile().isDeclarationFile();
    if (foreign && /^(Math\.random|(Date|performance|crypto|process|console|globalThis)\b)/.test(name))
      this.fail(
        'impure-call',
        ast,
        `${name} does not give the same answer every time, or has an effect.`,
        'a policy is a pure function of the slot',
      );
    const method = foreign ? name.match(/^Math\.(\w+)$/)?.[1] : undefined;
    const hint =
      method && builtin(method)
        ? `import { ${method} } from 'skv'`
        : `the functions are ${Object.keys(builtins).join(', ')}`;
    return this.fail('unknown-call', ast, `${name} is not a function of the language.`, hint);
  }

  private identifier(ast: Ast, span: Span): Value {
    const declaration = definition(ast);
    const bound = declaration && this.env.get(declaration);
    if (bound) return bound;
    const text = ast.getText();
    if ((text === 'Infinity' || text === 'NaN') && declaration?.getSourceFile().isDeclarationFile())
      return { op: 'const', type: 'f32', value: text === 'NaN' ? Number.NaN : Infinity, span };
    const initializer = constInitializer(declaration);
    const value = initializer && this.captured(declaration!, initializer);
    if (value) return { ...value, span };
    const message = `${text} comes from outside the function and is not a numeric constant.`;
    return this.fail(
      'non-constant-capture',
      ast,
      message,
      'make it a const number of the module, or a parameter: params: { … }',
    );
  }

  /** A const of the module: an expression like any other, in f32, of nothing but constants. */
  private captured(declaration: Ast, initializer: Ast): Node | undefined {
    if (this.path.includes(declaration)) return undefined;
    const scope = { ...this.scope, errors: new Collector() }; // its mistake is reported where it is used
    try {
      return new Lowering(scope, [...this.path, declaration], this.spent).node(initializer);
    } catch (error) {
      if (error instanceof Reported) return undefined;
      throw error;
    }
  }

  private binary(ast: BinaryExpression, span: Span): Value {
    const token = ast.getOperatorToken();
    const kind = token.getKind();
    if (kind >= SyntaxKind.FirstAssignment && kind <= SyntaxKind.LastAssignment)
      this.fail('mutation', ast, 'Nothing may change inside a policy function.', stateHint);
    const operator = operators[kind];
    if (!operator)
      return this.fail('unsupported-syntax', ast, `${token.getText()} is not part of the language.`, instead[kind]);
    const { fn, from, to } = operator;
    const [a, b] = all([() => this.typed(ast.getLeft(), from), () => this.typed(ast.getRight(), from)]);
    return { op: 'binary', type: to, fn, a, b, span };
  }

  private unary(ast: Ast, span: Span): Value {
    const unary = ast.asKindOrThrow(SyntaxKind.PrefixUnaryExpression);
    const token = unary.getOperatorToken();
    switch (token) {
      case SyntaxKind.MinusToken: {
        const a = this.typed(unary.getOperand(), 'f32');
        return a.op === 'const'
          ? { ...a, value: -(a.value as number), span }
          : { op: 'unary', type: 'f32', fn: 'neg', a, span };
      }
      case SyntaxKind.ExclamationToken:
        return { op: 'unary', type: 'bool', fn: 'not', a: this.typed(unary.getOperand(), 'bool'), span };
      case SyntaxKind.PlusPlusToken:
      case SyntaxKind.MinusMinusToken:
        return this.fail('mutation', ast, 'Nothing may change inside a policy function.', stateHint);
      default:
        return this.fail(
          'unsupported-syntax',
          ast,
          `${ts.tokenToString(token)} is not part of the language.`,
          instead[token],
        );
    }
  }

  private access(ast: Ast): Value {
    const access = ast.asKindOrThrow(SyntaxKind.PropertyAccessExpression);
    const base = access.getExpression();
    if (base.getSymbol()?.getDeclarations().some(Ast.isNamespaceImport)) return this.identifier(access, spanOf(access));
    if (definition(base)?.getSourceFile().isDeclarationFile())
      return this.fail(
        'unknown-call',
        ast,
        `${ast.getText()} is not part of the language.`,
        'write the number as a const',
      );
    return this.property(this.value(base), access.getName(), ast);
  }

  private conditional(ast: Ast, span: Span): Value {
    const node = ast.asKindOrThrow(SyntaxKind.ConditionalExpression);
    const [cond, then, other] = all([
      () => this.typed(node.getCondition(), 'bool'),
      () => this.node(node.getWhenTrue()),
      () => this.node(node.getWhenFalse()),
    ]);
    return this.select(ast, span, cond, then, other);
  }

  static readonly table: Partial<Record<SyntaxKind, (this: Lowering, ast: Ast, span: Span) => Value>> = {
    [SyntaxKind.NumericLiteral](ast, span) {
      return { op: 'const', type: 'f32', value: Math.fround(Number(ast.getText().replaceAll('_', ''))), span };
    },
    [SyntaxKind.TrueKeyword]: (_, span) => ({ op: 'const', type: 'bool', value: true, span }),
    [SyntaxKind.FalseKeyword]: (_, span) => ({ op: 'const', type: 'bool', value: false, span }),
    [SyntaxKind.ParenthesizedExpression](ast) {
      return this.value(ast.asKindOrThrow(SyntaxKind.ParenthesizedExpression).getExpression());
    },
    [SyntaxKind.PropertyAccessExpression](ast) {
      return this.access(ast);
    },
    [SyntaxKind.Identifier](ast, span) {
      return this.identifier(ast, span);
    },
    [SyntaxKind.PrefixUnaryExpression](ast, span) {
      return this.unary(ast, span);
    },
    [SyntaxKind.PostfixUnaryExpression](ast) {
      return this.fail('mutation', ast, 'Nothing may change inside a policy function.', stateHint);
    },
    [SyntaxKind.BinaryExpression](ast, span) {
      return this.binary(ast as BinaryExpression, span);
    },
    [SyntaxKind.ConditionalExpression](ast, span) {
      return this.conditional(ast, span);
    },
    [SyntaxKind.CallExpression](ast, span) {
      return this.call(ast as CallExpression, span);
    },
    [SyntaxKind.NewExpression](ast) {
      const what = ast.asKindOrThrow(SyntaxKind.NewExpression).getExpression().getText();
      const slug = what === 'Date' ? 'impure-call' : 'unsupported-syntax';
      return this.fail(
        slug,
        ast,
        `new ${what} is not part of the language.`,
        'a policy is a pure function of the slot',
      );
    },
  };
}

const { table } = Lowering;
const stateHint = 'use const; what must be remembered between queries is a state of accumulate';

const isHelper = (node: Ast | undefined): node is FunctionLike =>
  (Ast.isArrowFunction(node) || Ast.isFunctionDeclaration(node)) && !node.getSourceFile().isDeclarationFile();
