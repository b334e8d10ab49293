/** Evaluates the declarative fields of a policy (`keep: topK('budget')`): literals, module constants, the dsl's helpers. */
import { join } from 'node:path';
import { type ArrayLiteralExpression, type Expression, Node, type PropertyAssignment, SyntaxKind } from 'ts-morph';
import * as params from '../../dsl/params.ts';
import * as rules from '../../dsl/rules.ts';
import { root } from '../../toolchain/folders.mjs';

export const dslFolder = join(root, 'dsl');

/** A value that cannot be known at compile time; the node is where. */
export class NotConstant extends Error {
  constructor(
    readonly node: Node,
    readonly why: string,
  ) {
    super(why);
  }
}

const arithmetic: Partial<Record<SyntaxKind, (a: number, b: number) => number>> = {
  [SyntaxKind.PlusToken]: (a, b) => a + b,
  [SyntaxKind.MinusToken]: (a, b) => a - b,
  [SyntaxKind.AsteriskToken]: (a, b) => a * b,
  [SyntaxKind.SlashToken]: (a, b) => a / b,
};

export function constant(node: Expression): unknown {
  // not getLiteralValue: it reads the text up to the first letter or digit group, 1e-7 as 1
  if (Node.isNumericLiteral(node)) return Number(node.getText().replaceAll('_', ''));
  if (Node.isStringLiteral(node) || Node.isNoSubstitutionTemplateLiteral(node)) return node.getLiteralValue();
  if (Node.isTrueLiteral(node)) return true;
  if (Node.isFalseLiteral(node)) return false;
  if (Node.isParenthesizedExpression(node) || Node.isAsExpression(node) || Node.isSatisfiesExpression(node))
    return constant(node.getExpression());
  if (Node.isArrayLiteralExpression(node)) return node.getElements().map(constant);
  if (Node.isPrefixUnaryExpression(node) && node.getOperatorToken() === SyntaxKind.MinusToken)
    return -asNumber(node.getOperand());
  if (Node.isBinaryExpression(node)) {
    const apply = arithmetic[node.getOperatorToken().getKind()];
    if (apply) return apply(asNumber(node.getLeft()), asNumber(node.getRight()));
  }
  if (Node.isObjectLiteralExpression(node)) return Object.fromEntries(node.getProperties().map(member));
  if (Node.isCallExpression(node)) {
    const helper = helperOf(node.getExpression());
    if (typeof helper === 'function') return helper(...node.getArguments().map((each) => constant(each as Expression)));
    throw new NotConstant(node, `${node.getExpression().getText()} cannot be called in a declaration`);
  }
  if (Node.isIdentifier(node) || Node.isPropertyAccessExpression(node)) {
    const helper = helperOf(node);
    if (helper !== undefined) return helper;
    const declaration = definition(node);
    const initializer = constInitializer(declaration) ?? jsonValue(declaration);
    if (initializer) return constant(initializer);
    throw new NotConstant(node, `${node.getText()} is not a constant`);
  }
  throw new NotConstant(node, 'this must be a constant');
}

function asNumber(node: Expression): number {
  const value = constant(node);
  if (typeof value !== 'number') throw new NotConstant(node, 'this must be a number');
  return value;
}

function member(property: Node): [string, unknown] {
  if (Node.isPropertyAssignment(property)) return [nameOf(property), constant(property.getInitializerOrThrow())];
  if (Node.isShorthandPropertyAssignment(property)) {
    const initializer = constInitializer(property.getValueSymbol()?.getValueDeclaration());
    if (initializer) return [property.getName(), constant(initializer)];
  }
  throw new NotConstant(property, 'only plain properties are possible here');
}

/** A member's name as JavaScript has it: `'a'` and `a` are the same. */
export function nameOf(property: PropertyAssignment): string {
  const node = property.getNameNode();
  return Node.isStringLiteral(node) ? node.getLiteralValue() : node.getText();
}

/** A helper of the dsl that a name stands for, found by its declaration, whatever the file calls it. */
function helperOf(node: Node): unknown {
  const declaration = definition(node);
  for (const [file, helpers] of [
    ['params.ts', params],
    ['rules.ts', rules],
  ] as const) {
    const name = declaredIn(file, declaration);
    if (name !== undefined) return (helpers as Record<string, unknown>)[name];
  }
  return undefined;
}

/** The name of a declaration of that file of the dsl; undefined for any other. */
export function declaredIn(
  file: 'params.ts' | 'policy.ts' | 'rules.ts' | 'math.ts',
  declaration: Node | undefined,
): string | undefined {
  if (!declaration || declaration.getSourceFile().getFilePath() !== join(dslFolder, file)) return undefined;
  return Node.hasName(declaration) ? declaration.getName() : undefined;
}

/** What a `const` was set to; undefined for anything that can change, or is no variable. */
export function constInitializer(declaration: Node | undefined): Expression | undefined {
  if (!Node.isVariableDeclaration(declaration)) return undefined;
  return declaration.getVariableStatement()?.getDeclarationKind() === 'const'
    ? declaration.getInitializer()
    : undefined;
}

/** The value of a JSON file, or of one of its members. */
function jsonValue(declaration: Node | undefined): Expression | undefined {
  if (!declaration?.getSourceFile().getFilePath().endsWith('.json')) return undefined;
  if (Node.isPropertyAssignment(declaration)) return declaration.getInitializer();
  const statement = Node.isSourceFile(declaration) ? declaration.getStatements()[0] : undefined;
  return Node.isExpressionStatement(statement) ? statement.getExpression() : undefined;
}

/** The list that a constant is, written out, given to a name, or a member of a JSON file; undefined for anything else. */
export function listOf(node: Node): ArrayLiteralExpression | undefined {
  if (Node.isArrayLiteralExpression(node)) return node;
  if (Node.isParenthesizedExpression(node) || Node.isAsExpression(node) || Node.isSatisfiesExpression(node))
    return listOf(node.getExpression());
  if (!Node.isIdentifier(node) && !Node.isPropertyAccessExpression(node)) return undefined;
  const declaration = definition(node);
  const value = constInitializer(declaration) ?? jsonValue(declaration);
  return value && listOf(value);
}

/** Where the value of a name, or of a member of an imported module, is declared; through imports and aliases. */
export function definition(node: Node): Node | undefined {
  const name = Node.isPropertyAccessExpression(node) ? node.getNameNode() : node;
  const symbol = name.getSymbol();
  return (symbol?.getAliasedSymbol() ?? symbol)?.getValueDeclaration();
}
