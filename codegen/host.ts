/**
 * The author's functions as ordinary JavaScript, rounded to f32 after every operation: the top rung of the ladder of
 * oracles. It shares nothing with lower.ts: a small rewrite of the text, and the dsl's own mathematics.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ts } from 'ts-morph';
import * as dsl from '../dsl/index.ts';

/** The parts of a policy that can be run. */
export interface HostPolicy {
  readonly accumulate?: Readonly<Record<string, { init: number; next: (state: number, slot: unknown) => number }>>;
  readonly across?: Readonly<Record<string, { kind: string; of: (slot: unknown) => number | Float32Array }>>;
  readonly score?: (slot: unknown, across: unknown) => number;
}

const arithmetic = new Set([
  ts.SyntaxKind.PlusToken,
  ts.SyntaxKind.MinusToken,
  ts.SyntaxKind.AsteriskToken,
  ts.SyntaxKind.SlashToken,
]);

/** Wraps every arithmetic operation and every number in a rounding call. */
const rounding: ts.TransformerFactory<ts.SourceFile> = (context) => {
  const { factory } = context;
  const rounded = (expression: ts.Expression) =>
    factory.createCallExpression(factory.createIdentifier('__f32'), undefined, [expression]);
  const visit = (node: ts.Node): ts.Node => {
    const inner = ts.visitEachChild(node, visit, context);
    if (ts.isBinaryExpression(inner) && arithmetic.has(inner.operatorToken.kind)) return rounded(inner);
    if (ts.isNumericLiteral(inner) && !ts.isPropertyAssignment(node.parent ?? node)) return rounded(inner);
    return inner;
  };
  return (file) => ts.visitNode(file, visit) as ts.SourceFile;
};

/** Runs TypeScript text as a module and returns its exports. */
function evaluate(text: string, folder: string): Record<string, unknown> {
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true },
    transformers: { before: [rounding] },
  });
  const exports: Record<string, unknown> = {};
  const load = (name: string): unknown =>
    name === 'skv' ? dsl : evaluate(readFileSync(resolve(folder, name), 'utf8'), dirname(resolve(folder, name)));
  new Function('require', 'exports', '__f32', outputText)(load, exports, Math.fround);
  return exports;
}

/** The policy that a file defines, ready to run. `text` stands in for the file's own. */
export function host(file: string, text = readFileSync(file, 'utf8')): HostPolicy {
  return evaluate(text, dirname(file)).default as HostPolicy;
}
