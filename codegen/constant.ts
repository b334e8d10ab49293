/** Evaluates the declarative fields of a policy (`keep: topK('budget')`): literals, module constants, the dsl's helpers. */
import { type Expression, Node, SyntaxKind } from 'ts-morph';
import * as dsl from '../dsl/index.ts';

/** A value that cannot be known at compile time; the node is where. */
export class NotConstant extends Error {
  constructor(
    readonly node: Node,
    readonly why: string,
  ) {
    super(why);
  }
}

/** Helpers that build data; a statistic's function stays syntax and is lowered elsewhere. */
const helpers: Record<string, unknown> = {
  tokens: dsl.tokens,
  fraction: dsl.fraction,
  number: dsl.number,
  topK: dsl.topK,
  above: dsl.above,
  chunks: dsl.chunks,
  every: dsl.every,
  over: dsl.over,
  promptChunk: dsl.promptChunk,
  mean: dsl.mean,
  peak: dsl.peak,
  pooled: dsl.pooled,
  pyramid: dsl.pyramid,
  everything: dsl.everything,
  promptEnd: dsl.promptEnd,
};

const arithmetic: Partial<Record<SyntaxKind, (a: number, b: number) => number>> = {
  [SyntaxKind.PlusToken]: (a, b) => a + b,
  [SyntaxKind.MinusToken]: (a, b) => a - b,
  [SyntaxKind.AsteriskToken]: (a, b) => a * b,
  [SyntaxKind.SlashToken]: (a, b) => a / b,
};

export function constant(node: Expression): unknown {
  if (Node.isNumericLiteral(node)) return node.getLiteralValue();
  if (Node.isStringLiteral(node) || Node.isNoSubstitutionTemplateLiteral(node)) return node.getLiteralValue();
  if (Node.isTrueLiteral(node)) return true;
  if (Node.isFalseLiteral(node)) return false;
  if (Node.isParenthesizedExpression(node) || Node.isAsExpression(node) || Node.isSatisfiesExpression(node))
    return constant(node.getExpression());
  if (Node.isArrayLiteralExpression(node)) return node.getElements().map(constant);
  if (Node.isPrefixUnaryExpression(node) && node.getOperatorToken() === SyntaxKind.MinusToken)
    return -(constant(node.getOperand()) as number);
  if (Node.isBinaryExpression(node)) {
    const apply = arithmetic[node.getOperatorToken().getKind()];
    if (apply) return apply(constant(node.getLeft()) as number, constant(node.getRight()) as number);
  }
  if (Node.isObjectLiteralExpression(node)) {
    return Object.fromEntries(
      node.getProperties().map((property) => {
        if (Node.isPropertyAssignment(property))
          return [property.getName(), constant(property.getInitializerOrThrow())];
        if (Node.isShorthandPropertyAssignment(property)) return [property.getName(), constant(property.getNameNode())];
        throw new NotConstant(property, 'only plain properties are possible here');
      }),
    );
  }
  if (Node.isCallExpression(node)) {
    const helper = helpers[node.getExpression().getText()];
    if (typeof helper === 'function')
      return helper(...node.getArguments().map((argument) => constant(argument as Expression)));
    throw new NotConstant(node, `${node.getExpression().getText()} cannot be called in a declaration`);
  }
  if (Node.isIdentifier(node)) {
    const declaration = definition(node);
    if (
      declaration &&
      Node.isVariableDeclaration(declaration) &&
      declaration.getSourceFile().getFilePath().endsWith('/dsl/policy.ts')
    )
      return helpers[node.getText()];
    if (declaration && Node.isVariableDeclaration(declaration)) {
      const list = declaration.getVariableStatement();
      const initializer = declaration.getInitializer();
      if (list?.getDeclarationKind() === 'const' && initializer) return constant(initializer);
    }
    throw new NotConstant(node, `${node.getText()} is not a constant`);
  }
  throw new NotConstant(node, 'this must be a constant');
}

/** Where an identifier's value is declared, through imports. */
export function definition(node: Node): Node | undefined {
  const symbol = node.getSymbol();
  return (symbol?.getAliasedSymbol() ?? symbol)?.getValueDeclaration();
}
