/** TypeScript expression → IR: one table keyed by SyntaxKind. Anything not in the table is a diagnostic, never a guess. */
import {
  type ArrowFunction,
  type BinaryExpression,
  type CallExpression,
  type FunctionDeclaration,
  Node as Ast,
  type Statement,
  SyntaxKind,
  ts,
} from 'ts-morph';
import { builtin } from './builtins.ts';
import { constant, definition } from './constant.ts';
import type { Collector, Slug } from './diagnostics.ts';
import type { BinaryOp, Node, SlotField, Span, Type } from './ir.ts';
import { spanOf } from './read.ts';

/** What a name stands for while lowering. */
type Value = Node | { readonly is: 'slot' } | { readonly is: 'params' } | { readonly is: 'across' };

/** The surroundings of one function: which names of the policy it may read. */
export interface Scope {
  readonly errors: Collector;
  readonly states: ReadonlySet<string>;
  readonly params: ReadonlySet<string>;
  readonly across: ReadonlyMap<string, Type>;
  /** attn is one query's: only `next` has it */
  readonly attention: boolean;
}

const slotTypes: Record<SlotField, Type> = {
  attn: 'f32',
  pos: 'f32',
  age: 'f32',
  seen: 'f32',
  live: 'f32',
  length: 'f32',
  layer: 'f32',
  layers: 'f32',
  head: 'f32',
  heads: 'f32',
  key: 'vec',
  value: 'vec',
  special: 'bool',
  punctuation: 'bool',
};

const operators: Partial<Record<SyntaxKind, { fn: BinaryOp; from: Type; to: Type }>> = {
  [SyntaxKind.PlusToken]: { fn: 'add', from: 'f32', to: 'f32' },
  [SyntaxKind.MinusToken]: { fn: 'sub', from: 'f32', to: 'f32' },
  [SyntaxKind.AsteriskToken]: { fn: 'mul', from: 'f32', to: 'f32' },
  [SyntaxKind.SlashToken]: { fn: 'div', from: 'f32', to: 'f32' },
  [SyntaxKind.LessThanToken]: { fn: 'lt', from: 'f32', to: 'bool' },
  [SyntaxKind.LessThanEqualsToken]: { fn: 'le', from: 'f32', to: 'bool' },
  [SyntaxKind.GreaterThanToken]: { fn: 'gt', from: 'f32', to: 'bool' },
  [SyntaxKind.GreaterThanEqualsToken]: { fn: 'ge', from: 'f32', to: 'bool' },
  [SyntaxKind.EqualsEqualsEqualsToken]: { fn: 'eq', from: 'f32', to: 'bool' },
  [SyntaxKind.ExclamationEqualsEqualsToken]: { fn: 'ne', from: 'f32', to: 'bool' },
  [SyntaxKind.AmpersandAmpersandToken]: { fn: 'and', from: 'bool', to: 'bool' },
  [SyntaxKind.BarBarToken]: { fn: 'or', from: 'bool', to: 'bool' },
};

/** Forms the language refuses, with what to write instead. */
const refusedOperators: Partial<Record<SyntaxKind, string>> = {
  [SyntaxKind.EqualsEqualsToken]: 'use ===',
  [SyntaxKind.ExclamationEqualsToken]: 'use !==',
  [SyntaxKind.AsteriskAsteriskToken]: 'use pow(x, y)',
  [SyntaxKind.PercentToken]: 'use x - n * floor(x / n): the sign of % differs between languages',
  [SyntaxKind.QuestionQuestionToken]: 'no value of the language can be missing: drop the ??',
};

const says: Record<Type, string> = { f32: 'a number', bool: 'a boolean', vec: 'a vector' };

const isLoop = (node: Ast): boolean =>
  Ast.isForStatement(node) ||
  Ast.isForOfStatement(node) ||
  Ast.isForInStatement(node) ||
  Ast.isWhileStatement(node) ||
  Ast.isDoStatement(node);

/** A mistake that has been reported already; unwinds to the function being lowered. */
class Reported extends Error {}

type FunctionLike = ArrowFunction | FunctionDeclaration;

export class Lowering {
  private readonly env = new Map<Ast, Value>();
  private depth = 0;

  constructor(private readonly scope: Scope) {}

  /** Lowers a callback whose parameters stand for `args`; undefined after a reported mistake. */
  callback(fn: Ast, args: readonly Value[], result: readonly Type[]): Node | undefined {
    try {
      if (!Ast.isArrowFunction(fn))
        this.fail('unsupported-syntax', fn, 'This must be an arrow function written in place.');
      const node = this.inline(fn as ArrowFunction, args, fn);
      if (!result.includes(node.type))
        this.fail(
          'wrong-type',
          fn,
          `This must return ${result.map((type) => says[type]).join(' or ')}, it returns ${says[node.type]}.`,
        );
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
    if (++this.depth > 32)
      this.fail('unsupported-syntax', at, 'Functions may not call themselves: each call is written out in the kernel.');
    fn.getParameters().forEach((parameter, i) => {
      if (parameter.isRestParameter() || parameter.hasInitializer())
        this.fail('unsupported-syntax', parameter, 'Parameters are plain names here.');
      if (args[i] !== undefined) this.bind(parameter.getNameNode(), parameter, args[i]);
    });
    const body = fn.getBody();
    if (!body) this.fail('unknown-call', at, 'This function has no body to compile.');
    const node = Ast.isBlock(body) ? this.block(body.getStatements(), body) : this.number(body!);
    this.depth--;
    return node;
  }

  /** Binds a name, or the names of a destructuring pattern, to a value. */
  private bind(name: Ast, declaration: Ast, value: Value): void {
    if (Ast.isObjectBindingPattern(name)) {
      for (const element of name.getElements()) {
        if (element.getDotDotDotToken() || element.hasInitializer())
          this.fail('unsupported-syntax', element, 'Rest and default values are not part of the language.');
        const field = element.getPropertyNameNode()?.getText() ?? element.getName();
        this.bind(element.getNameNode(), element, this.property(value, field, element));
      }
    } else if (Ast.isIdentifier(name)) {
      this.env.set(declaration, value);
    } else {
      this.fail('unsupported-syntax', name, 'Only names and { … } patterns can be bound.');
    }
  }

  /** Statements → one expression: const binds, `if … return` selects, return ends. */
  private block(statements: readonly Statement[], at: Ast): Node {
    for (let i = 0; i < statements.length; i++) {
      const statement = statements[i];
      if (Ast.isReturnStatement(statement)) {
        const value = statement.getExpression();
        if (!value) this.fail('wrong-type', statement, 'A value must be returned.');
        return this.number(value!);
      }
      if (Ast.isVariableStatement(statement)) {
        if (statement.getDeclarationKind() !== 'const') {
          const loop = at.getDescendants().find(isLoop);
          if (loop) this.refuseLoop(loop);
          this.fail(
            'mutation',
            statement,
            'Nothing may change inside a policy function.',
            'use const; what must be remembered between queries is a state of accumulate',
          );
        }
        for (const declaration of statement.getDeclarations())
          this.bind(declaration.getNameNode(), declaration, this.value(declaration.getInitializerOrThrow()));
      } else if (Ast.isIfStatement(statement)) {
        const cond = this.typed(statement.getExpression(), 'bool');
        const rest = statements.slice(i + 1);
        const branch = (body: Statement) => (Ast.isBlock(body) ? body.getStatements() : [body]);
        const then = this.block([...branch(statement.getThenStatement())], statement.getThenStatement());
        const otherwise = statement.getElseStatement();
        const other = this.block(otherwise ? [...branch(otherwise), ...rest] : rest, at);
        if (then.type !== other.type)
          this.fail('wrong-type', statement, `The branches return ${says[then.type]} and ${says[other.type]}.`);
        return { op: 'select', type: then.type, cond, then, else: other, span: spanOf(statement) };
      } else if (isLoop(statement)) {
        this.refuseLoop(statement);
      } else if (Ast.isExpressionStatement(statement)) {
        this.value(statement.getExpression());
        this.fail('unsupported-syntax', statement, 'A statement without effect is not part of the language.');
      } else {
        this.fail(
          'unsupported-syntax',
          statement,
          `${statement.getKindName()} is not part of the language.`,
          'use const, if with return, and return',
        );
      }
    }
    return this.fail('wrong-type', at, 'Not every path returns a value.');
  }

  /** Points at the loop's first word. */
  private refuseLoop(loop: Ast): never {
    const word = loop.getFirstChild() ?? loop;
    return this.fail(
      'loop-in-score',
      word,
      'A score is one expression per slot; a loop has no bound the kernel can know.',
      'write it in closed form, for example slot.attn * pow(0.98, slot.age)',
    );
  }

  private typed(ast: Ast, type: Type): Node {
    const node = this.number(ast);
    if (node.type !== type)
      this.fail(
        'wrong-type',
        ast,
        `Here ${says[type]} is needed; this is ${says[node.type]}.`,
        type === 'bool' && node.type === 'f32' ? 'compare it: x > 0' : undefined,
      );
    return node;
  }

  /** An expression that is a value of the language (not the slot itself). */
  private number(ast: Ast): Node {
    const value = this.value(ast);
    if ('is' in value) this.fail('wrong-type', ast, `${ast.getText()} is not a value; read one of its fields.`);
    return value as Node;
  }

  private value(ast: Ast): Value {
    const lower = table[ast.getKind()];
    if (!lower) this.fail('unsupported-syntax', ast, `${ast.getKindName()} is not part of the language.`);
    return lower!.call(this, ast, spanOf(ast));
  }

  private property(base: Value, field: string, at: Ast): Value {
    const span = spanOf(at);
    if (!('is' in base))
      this.fail(
        'unsupported-syntax',
        at,
        'Numbers and vectors have no fields.',
        'use the functions of skv: dot, norm, scale …',
      );
    const { is } = base as { is: string };
    if (is === 'params' && this.scope.params.has(field)) return { op: 'param', type: 'f32', name: field, span };
    if (is === 'across' && this.scope.across.has(field))
      return { op: 'across', type: this.scope.across.get(field)!, name: field, span };
    if (is === 'slot') {
      if (field === 'params') return { is: 'params' };
      if (this.scope.states.has(field)) return { op: 'state', type: 'f32', name: field, span };
      if (field === 'attn' && !this.scope.attention)
        this.fail(
          'attention-outside-next',
          at,
          'slot.attn belongs to one query; a score is asked when no query is there.',
          'accumulate it: latest: { init: 0, next: (_, slot) => slot.attn }, then read slot.latest',
        );
      if (field in slotTypes)
        return { op: 'slot', type: slotTypes[field as SlotField], field: field as SlotField, span };
    }
    return this.fail('unsupported-syntax', at, `There is no ${field} here.`);
  }

  private call(ast: CallExpression, span: Span): Value {
    const callee = ast.getExpression();
    const name = callee.getText();
    if (/^(Math\.random|Date\b|performance\b|crypto\b|process\b|console\b|globalThis\b)/.test(name))
      this.fail('impure-call', ast, `${name} does not give the same answer every time, or has an effect.`);
    const declaration = Ast.isIdentifier(callee) ? definition(callee) : undefined;
    const file = declaration?.getSourceFile().getFilePath() ?? '';
    if (declaration && file.endsWith('/dsl/math.ts')) {
      const known = builtin((declaration as unknown as { getName(): string }).getName())!;
      const args = known.args.map((type, i) => this.typed(ast.getArguments()[i], type));
      return {
        op: 'call',
        type: known.result,
        fn: (declaration as unknown as { getName(): string }).getName(),
        args,
        span,
      };
    }
    const fn = Ast.isVariableDeclaration(declaration) ? declaration.getInitializer() : declaration;
    if (fn && (Ast.isArrowFunction(fn) || Ast.isFunctionDeclaration(fn)) && !fn.getSourceFile().isDeclarationFile()) {
      const helper = new Lowering(this.scope);
      helper.depth = this.depth;
      return helper.inline(
        fn,
        ast.getArguments().map((argument) => this.value(argument)),
        ast,
      );
    }
    const method = name.match(/^Math\.(\w+)$/)?.[1];
    return this.fail(
      'unknown-call',
      ast,
      `${name} is not a function of the language.`,
      method && builtin(method)
        ? `import { ${method} } from 'skv'`
        : 'the functions are exp, log, pow, sqrt, tanh, sigmoid, abs, min, max, clamp, floor, ceil, sign, dot, norm, cosine, scale, add, sub, mul',
    );
  }

  private identifier(ast: Ast, span: Span): Value {
    const declaration = definition(ast);
    const bound = declaration && this.env.get(declaration);
    if (bound) return bound;
    if (ast.getText() === 'Infinity' || ast.getText() === 'NaN')
      return { op: 'const', type: 'f32', value: ast.getText() === 'NaN' ? Number.NaN : Infinity, span };
    if (declaration && Ast.isVariableDeclaration(declaration)) {
      try {
        const value =
          declaration.getVariableStatement()?.getDeclarationKind() === 'const'
            ? constant(declaration.getInitializerOrThrow())
            : undefined;
        if (typeof value === 'number') return { op: 'const', type: 'f32', value: Math.fround(value), span };
        if (typeof value === 'boolean') return { op: 'const', type: 'bool', value, span };
      } catch {
        // reported below: not a constant
      }
    }
    return this.fail(
      'non-constant-capture',
      ast,
      `${ast.getText()} comes from outside the function and is not a numeric constant.`,
      'make it a const number of the module, or a parameter: params: { … }',
    );
  }

  private binary(ast: BinaryExpression, span: Span): Value {
    const kind = ast.getOperatorToken().getKind();
    if (kind >= SyntaxKind.FirstAssignment && kind <= SyntaxKind.LastAssignment)
      this.fail(
        'mutation',
        ast,
        'Nothing may change inside a policy function.',
        'use const; what must be remembered between queries is a state of accumulate',
      );
    const operator = operators[kind];
    if (!operator)
      this.fail(
        'unsupported-syntax',
        ast,
        `${ast.getOperatorToken().getText()} is not part of the language.`,
        refusedOperators[kind],
      );
    const { fn, from, to } = operator!;
    const a = this.typed(ast.getLeft(), from);
    const b = this.typed(ast.getRight(), from);
    return { op: 'binary', type: to, fn, a, b, span };
  }

  private unary(ast: Ast, span: Span): Value {
    const unary = ast.asKindOrThrow(SyntaxKind.PrefixUnaryExpression);
    switch (unary.getOperatorToken()) {
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
        return this.fail('mutation', ast, 'Nothing may change inside a policy function.');
      default:
        return this.fail(
          'unsupported-syntax',
          ast,
          `${ts.tokenToString(unary.getOperatorToken())} is not part of the language.`,
        );
    }
  }

  private conditional(ast: Ast, span: Span): Value {
    const node = ast.asKindOrThrow(SyntaxKind.ConditionalExpression);
    const cond = this.typed(node.getCondition(), 'bool');
    const then = this.number(node.getWhenTrue());
    const other = this.number(node.getWhenFalse());
    if (then.type !== other.type)
      this.fail('wrong-type', ast, `The branches are ${says[then.type]} and ${says[other.type]}.`);
    return { op: 'select', type: then.type, cond, then, else: other, span };
  }

  static readonly table: Partial<Record<SyntaxKind, (this: Lowering, ast: Ast, span: Span) => Value>> = {
    [SyntaxKind.NumericLiteral]: (ast, span) => ({
      op: 'const',
      type: 'f32',
      value: Math.fround(Number(ast.getText().replaceAll('_', ''))),
      span,
    }),
    [SyntaxKind.TrueKeyword]: (_, span) => ({ op: 'const', type: 'bool', value: true, span }),
    [SyntaxKind.FalseKeyword]: (_, span) => ({ op: 'const', type: 'bool', value: false, span }),
    [SyntaxKind.ParenthesizedExpression](ast) {
      return this.value(ast.asKindOrThrow(SyntaxKind.ParenthesizedExpression).getExpression());
    },
    [SyntaxKind.PropertyAccessExpression](ast) {
      const access = ast.asKindOrThrow(SyntaxKind.PropertyAccessExpression);
      if (/^Math\./.test(ast.getText()))
        return this.fail(
          'unknown-call',
          ast,
          `${ast.getText()} is not part of the language.`,
          'write the number as a const',
        );
      return this.property(this.value(access.getExpression()), access.getName(), ast);
    },
    [SyntaxKind.Identifier](ast, span) {
      return this.identifier(ast, span);
    },
    [SyntaxKind.PrefixUnaryExpression](ast, span) {
      return this.unary(ast, span);
    },
    [SyntaxKind.PostfixUnaryExpression](ast) {
      return this.fail('mutation', ast, 'Nothing may change inside a policy function.');
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
  };
}

const { table } = Lowering;
export const slotValue: Value = { is: 'slot' };
export const acrossValue: Value = { is: 'across' };
