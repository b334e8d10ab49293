/**
 * The author's functions as ordinary JavaScript, rounded to f32 after every operation: the top rung of the ladder of
 * oracles. It shares nothing with lower.ts: a small rewrite of the text, and the dsl's own mathematics.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ts } from 'ts-morph';
import * as dsl from '../../dsl/index.ts';

export type OfSlot = (slot: unknown, across?: unknown) => number | Float32Array;

/** `{ mean: (slot) => … }` and the like, perhaps `{ max: (slot) => …, partition: 'next' }`, or `{ nth: 8, of: (slot) => … }`. */
export type HostStatistic =
  | (Readonly<Record<string, OfSlot | 'next'>> & { readonly partition?: 'next' })
  | { readonly nth: number | string; readonly of: OfSlot };

interface HostState {
  readonly init: number;
  readonly next: (state: number, slot: unknown) => number;
}
interface HostOnce {
  readonly once: (slot: unknown) => number;
}
export interface HostHistory {
  readonly last: number | string;
  readonly sum: (slot: unknown) => number;
}

/** The parts of a policy that can be run. */
export interface HostPolicy {
  readonly accumulate?: Readonly<Record<string, HostState | HostHistory | HostOnce>>;
  readonly across?: Readonly<Record<string, HostStatistic>>;
  readonly partitions?: { readonly first?: number | string; readonly size: number | string };
  readonly score?: (slot: unknown, across: unknown) => number;
}

const arithmetic = new Set([
  ts.SyntaxKind.PlusToken,
  ts.SyntaxKind.MinusToken,
  ts.SyntaxKind.AsteriskToken,
  ts.SyntaxKind.SlashToken,
]);

/** Wraps every arithmetic operation, every number and every element of a table in a rounding call. */
const rounding: ts.TransformerFactory<ts.SourceFile> = (context) => {
  const { factory } = context;
  const rounded = (expression: ts.Expression) =>
    factory.createCallExpression(factory.createIdentifier('__f32'), undefined, [expression]);
  const visit = (node: ts.Node): ts.Node => {
    if (ts.isPropertyAssignment(node))
      return factory.updatePropertyAssignment(node, node.name, ts.visitNode(node.initializer, visit) as ts.Expression);
    const inner = ts.visitEachChild(node, visit, context);
    if (ts.isBinaryExpression(inner) && arithmetic.has(inner.operatorToken.kind)) return rounded(inner);
    if (ts.isNumericLiteral(inner) || ts.isElementAccessExpression(inner)) return rounded(inner);
    return inner;
  };
  return (file) => ts.visitNode(file, visit) as ts.SourceFile;
};

/** Rows of a table pass as they are. */
const roundNumber = (value: unknown): unknown => (typeof value === 'number' ? Math.fround(value) : value);

/** The file that an import means: with its ending, without, or with the one it will have as JavaScript. */
function resolveImport(name: string, folder: string): string {
  const path = resolve(folder, name);
  const stem = path.replace(/\.[cm]?js$/, '');
  const found = [path, `${stem}.ts`, join(path, 'index.ts')].find(
    (each) => existsSync(each) && statSync(each).isFile(),
  );
  if (!found) throw new Error(`${name}, imported from ${folder}, is no file that can be run here.`);
  return found;
}

/** Runs TypeScript text as a module, which fills `exports`, and returns them. `loaded`: of the files it imports. */
function evaluate(
  text: string,
  folder: string,
  skv: unknown,
  exports: Record<string, unknown> = {},
  loaded = new Map<string, Record<string, unknown>>(),
): Record<string, unknown> {
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true },
    transformers: { before: [rounding] },
  });
  const load = (name: string): unknown => {
    if (name === 'skv') return skv;
    const file = resolveImport(name, folder);
    const known = loaded.get(file);
    if (known) return known; // perhaps still being filled: modules may import each other
    if (file.endsWith('.json')) return { __esModule: true, default: JSON.parse(readFileSync(file, 'utf8')) };
    const own = {};
    loaded.set(file, own);
    return evaluate(readFileSync(file, 'utf8'), dirname(file), skv, own, loaded);
  };
  new Function('require', 'exports', '__f32', outputText)(load, exports, roundNumber);
  return exports;
}

/** The policy that a file defines, exported or not, ready to run. `text` stands in for the file's own. */
export function host(file: string, text = readFileSync(file, 'utf8')): HostPolicy {
  let defined: HostPolicy | undefined;
  const definePolicy = (spec: HostPolicy): HostPolicy => {
    defined = spec;
    return spec;
  };
  evaluate(text, dirname(resolve(file)), { ...dsl, definePolicy });
  if (!defined) throw new Error(`${file} defines no policy.`);
  return defined;
}
