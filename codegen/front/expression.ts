/**
 * TypeScript expression → IR: one table keyed by SyntaxKind. Names and calls are resolved by declaration. Anything not in
 * the table is a diagnostic, never a guess.
 */
import { Node as Ast, type BinaryExpression, type CallExpression, SyntaxKind, ts } from 'ts-morph';
import { builtin, builtins } from '../ir/builtins.ts';
import { constInitializer, declaredIn, definition, listOf } from './constant.ts';
import { Collector } from '../ir/diagnostics.ts';
import { simplifyNode } from '../ir/simplify.ts';
import { historySum } from './history.ts';
import { forVectors, instead, operators, stateHint, tableHint } from './forms.ts';
import { type Node, type Span, slotTypes, type Table } from '../ir/nodes.ts';
import { spanOf } from './read.ts';
import { all, type FunctionLike, Reported, Statements, type Value } from './statements.ts';

export const slotValue: Value = { is: 'slot' };
export const acrossValue: Value = { is: 'across' };

/** Calls one function may expand to: far above any sensible policy, far below what a compiler chokes on. */
const MOST_CALLS = 2000;

export class Lowering extends Statements {
  protected value(ast: Ast): Value {
    const lower = table[ast.getKind()];
    const refused = () => `${ast.getKindName()} is not part of the language.`;
    const value = lower
      ? lower.call(this, ast, spanOf(ast))
      : this.fail('unsupported-syntax', ast, refused(), instead[ast.getKind()]);
    if ('is' in value && value.is === 'mistake') throw new Reported();
    return value;
  }

  protected property(base: Value, field: string, at: Ast): Value {
    const span = spanOf(at);
    if (!('is' in base))
      this.fail('unsupported-syntax', at, 'Numbers and vectors have no fields.', 'use dot, norm, scale …');
    const { is } = base as { is: string };
    if (is === 'params' && this.scope.params.has(field)) return { op: 'param', type: 'f32', name: field, span };
    if (is === 'across' && this.scope.across.has(field)) {
      const type = this.scope.across.get(field);
      return type ? { op: 'across', type, name: field, span } : { is: 'mistake' };
    }
    if (is === 'across') {
      const hint = 'write what is read above what reads it';
      const message = `${this.scope.statistics.has(field) ? `${field} is not` : `there is no ${field}`} among them.`;
      this.fail('statistic-order', at, `A statistic reads those written above it; ${message}`, hint);
    }
    if (is === 'slot') {
      if (field === 'params') return { is: 'params' };
      if (this.scope.histories.has(field)) return historySum(field, span);
      if (this.scope.states.has(field)) return { op: 'state', type: 'f32', name: field, span };
      if (field === 'attn' && !this.scope.attention) {
        const message = 'slot.attn belongs to one query; a score is asked when no query is there.';
        const hint = 'accumulate it: latest: { init: 0, next: (_, slot) => slot.attn }, then read slot.latest';
        this.fail('attention-outside-next', at, message, hint);
      }
      if (Object.hasOwn(slotTypes, field)) {
        const known = field as keyof typeof slotTypes;
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
    this.spent.calls++;
    if (this.spent.calls > MOST_CALLS + 1) throw new Reported();
    if (this.spent.calls > MOST_CALLS) {
      const hint = 'name values with const instead of computing them again';
      this.fail('unsupported-syntax', ast, `This expands to more than ${MOST_CALLS} calls.`, hint);
    }
    const values = all(ast.getArguments().map((argument) => () => this.value(argument)));
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
        name === 'Math.random'
          ? 'slot.random is a random number of the slot, the same every time'
          : 'a policy is a pure function of the slot',
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
    const sides = [ast.getLeft(), ast.getRight()];
    const [a, b] = all(
      sides.map((side) => () => {
        const node = this.node(side);
        return from === 'f32' && node.type === 'vec' ? node : this.expect(node, from, side);
      }),
    );
    if (a.type === 'vec' || b.type === 'vec') {
      const hint = forVectors(token.getText(), sides[0].getText(), sides[1].getText(), [
        a.type === 'vec',
        b.type === 'vec',
      ]);
      this.fail('wrong-type', ast, `${token.getText()} works on numbers; here is a vector.`, hint);
    }
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

  /** `gates[slot.layer][slot.head]`: a constant table at the slot's own place. */
  private indexed(ast: Ast, span: Span): Value {
    const places: Ast[] = [];
    let base = ast;
    for (; Ast.isElementAccessExpression(base); base = base.getExpression())
      places.unshift(base.getArgumentExpression()!);
    const table = this.tableOf(base, ast);
    const fields = all(places.map((place) => () => this.node(place))).map((node) => node.op === 'slot' && node.field);
    const wanted = table.heads ? ['layer', 'head'] : ['layer'];
    if (fields.join() !== wanted.join())
      this.fail(
        'table-index',
        ast,
        `${table.name} has one number for each layer${table.heads ? ' and KV head' : ''}; it is read at ${wanted.map((each) => `[slot.${each}]`).join('')}.`,
        `${table.name}${wanted.map((each) => `[slot.${each}]`).join('')}`,
      );
    this.scope.tables.push(table);
    return { op: 'table', type: 'f32', table, span };
  }

  /** A list of numbers, or a list of such lists of one length. */
  private tableOf(base: Ast, at: Ast): Table {
    const list = listOf(base);
    if (!list) this.fail('unsupported-syntax', at, 'Only constant tables have elements.', instead[at.getKind()]);
    const rows = list!.getElements().map((row) => (Ast.isArrayLiteralExpression(row) ? row.getElements() : [row]));
    const wide = Ast.isArrayLiteralExpression(list!.getElements()[0]);
    const heads = wide ? rows[0].length : 0;
    const even = list!.getElements().every((row) => Ast.isArrayLiteralExpression(row) === wide);
    const values = rows.flat().map((each) => this.element(each));
    if (
      rows.length === 0 ||
      !even ||
      rows.some((row) => row.length !== Math.max(1, heads)) ||
      !values.every(Number.isFinite)
    )
      this.fail(
        'table-shape',
        base,
        `${base.getText()} is no list of numbers, one a layer, nor of such lists, one a layer with a number a KV head.`,
        tableHint,
      );
    return { name: base.getText(), layers: rows.length, heads, values };
  }

  /** A constant number in f32, as wherever a constant of the module is read; NaN for anything else. */
  private element(ast: Ast): number {
    const node = this.captured(ast, ast);
    const value = node && simplifyNode(node);
    return value?.op === 'const' && typeof value.value === 'number' ? value.value : Number.NaN;
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
    [SyntaxKind.ElementAccessExpression](ast, span) {
      return this.indexed(ast, span);
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

const isHelper = (node: Ast | undefined): node is FunctionLike =>
  (Ast.isArrowFunction(node) || Ast.isFunctionDeclaration(node)) && !node.getSourceFile().isDeclarationFile();
