/** A function's text → one expression: const binds, `if` selects, return ends. One mistake does not hide the next. */
import { type ArrowFunction, Node as Ast, type FunctionDeclaration, type IfStatement, type Statement } from 'ts-morph';
import type { Collector, Slug } from '../ir/diagnostics.ts';
import { instead, says, stateHint } from './forms.ts';
import type { Node, Span, Table, Type } from '../ir/nodes.ts';
import { spanOf } from './read.ts';

/** What a name stands for while lowering; a mistake was reported where the name was given its value. */
export type Value = Node | { readonly is: 'slot' | 'params' | 'across' | 'mistake' };

/** The surroundings of one function: which names of the policy it may read. */
export interface Scope {
  readonly errors: Collector;
  readonly states: ReadonlySet<string>;
  /** those of the states that are histories */
  readonly histories: ReadonlySet<string>;
  readonly params: ReadonlySet<string>;
  /** statistics by name, in one those above it; undefined: its own mistake was reported */
  readonly across: ReadonlyMap<string, Type | undefined>;
  /** names of all statistics */
  readonly statistics: ReadonlySet<string>;
  /** attn is one query's: only `next` has it */
  readonly attention: boolean;
  /** tables that were read, whatever becomes of their values */
  readonly tables: Table[];
}

/** A mistake that has been reported already; unwinds to where the next part begins. */
export class Reported extends Error {}

export type FunctionLike = ArrowFunction | FunctionDeclaration;

const isLoop = (node: Ast): boolean => Ast.isIterationStatement(node);
const statementsOf = (body: Statement): Statement[] => (Ast.isBlock(body) ? body.getStatements() : [body]);

/** Does every part although one fails, then fails: each part's mistake is reported. */
export function all<T>(parts: readonly (() => T)[]): T[] {
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

/** What makes a number of a vector, where a number is needed. */
function vectorHint(ast: Ast, type: Type, node: Node): string | undefined {
  if (type !== 'f32' || node.type !== 'vec') return undefined;
  const text = ast.getText();
  return Ast.isPrefixUnaryExpression(ast.getParent()) ? `scale(${text}, -1)` : `norm(${text}) is a number`;
}

/** The half of lowering that knows functions and statements; expression.ts adds what an expression is. */
export abstract class Statements {
  protected readonly env = new Map<Ast, Value>();

  /** `path`: the functions and constants being written out, outermost first. `spent` counts calls. */
  constructor(
    protected readonly scope: Scope,
    protected readonly path: readonly Ast[] = [],
    protected readonly spent = { calls: 0 },
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

  protected fail(slug: Slug, at: Ast, message: string, hint?: string): never {
    this.scope.errors.report(slug, spanOf(at), message, hint);
    throw new Reported();
  }

  /** The body of a function with its parameters bound. */
  protected inline(fn: FunctionLike, args: readonly Value[], at: Ast): Node {
    fn.getParameters().forEach((parameter, i) => {
      if (parameter.isRestParameter() || parameter.hasInitializer())
        this.fail('unsupported-syntax', parameter, 'Parameters are plain names here.', 'pass every value in the call');
      if (args[i] === undefined)
        this.fail(
          'wrong-type',
          at,
          `This function takes ${fn.getParameters().length} values; it is given ${args.length}.`,
        );
      this.bind(parameter.getNameNode(), parameter, args[i]);
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
        if (element.getDotDotDotToken() || element.hasInitializer())
          this.fail('unsupported-syntax', element, 'Rest and default values are not part of the language.');
        const field = element.getPropertyNameNode()?.getText() ?? element.getName();
        this.bind(element.getNameNode(), element, this.property(value, field, element));
      }),
    );
  }

  /** Until they have values, names stand for a mistake: its use is no second one. */
  private distrust(name: Ast, declaration: Ast): void {
    this.env.set(declaration, { is: 'mistake' });
    if (!Ast.isObjectBindingPattern(name)) return;
    for (const element of name.getElements()) this.distrust(element.getNameNode(), element);
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
      if (!plain.every(Ast.isVariableStatement)) throw new Reported(); // it was refused: what it returns is unknown
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

  protected select(at: Ast, span: Span, cond: Node, then: Node, other: Node): Node {
    if (then.type !== other.type)
      this.fail('wrong-type', at, `The branches are ${says[then.type]} and ${says[other.type]}.`);
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
        this.distrust(declaration.getNameNode(), declaration);
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

  protected typed(ast: Ast, type: Type): Node {
    return this.expect(this.node(ast), type, ast);
  }

  /** A node that must have this type. */
  protected expect(node: Node, type: Type, ast: Ast): Node {
    if (node.type !== type) {
      const hint = type === 'bool' && node.type === 'f32' ? 'compare it: x > 0' : vectorHint(ast, type, node);
      this.fail('wrong-type', ast, `Here ${says[type]} is needed; this is ${says[node.type]}.`, hint);
    }
    return node;
  }

  /** An expression that is a value of the language (not the slot itself). */
  protected node(ast: Ast): Node {
    const value = this.value(ast);
    if ('is' in value) this.fail('wrong-type', ast, `${ast.getText()} is not a value; read one of its fields.`);
    return value as Node;
  }

  /** What an expression stands for; never a mistake, which is thrown. */
  protected abstract value(ast: Ast): Value;

  /** A field of the slot, of its parameters or of the statistics. */
  protected abstract property(base: Value, field: string, at: Ast): Value;
}
