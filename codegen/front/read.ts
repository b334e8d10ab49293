/** Finds the policy in a module of TypeScript or JavaScript. TypeScript's own complaints pass through first. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import {
  type CallExpression,
  Node,
  type ObjectLiteralExpression,
  Project,
  type SourceFile,
  SyntaxKind,
  ts,
} from 'ts-morph';
import { complain } from './complaints.ts';
import { declaredIn, definition, dslFolder, nameOf } from './constant.ts';
import { type Collector, stage } from '../ir/diagnostics.ts';
import { textOf } from './text.ts';
import type { Span } from '../ir/nodes.ts';

/** What reading a file yields: the policy's object literal in its checked source. */
export interface Syntax {
  readonly file: string;
  readonly source: SourceFile;
  readonly literal: ObjectLiteralExpression;
  /** the comment above the policy, without its stars */
  readonly doc: string;
  /** absolute path → text of the policy file and every file it imports outside the dsl, as they were compiled */
  readonly files: ReadonlyMap<string, string>;
}

let project: Project | undefined;

/** One ts-morph project a process: its cold start takes about two seconds. */
function theProject(): Project {
  project ??= new Project({
    skipLoadingLibFiles: false,
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      lib: ['lib.es2022.d.ts'],
      types: [],
      strict: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      allowJs: true,
      resolveJsonModule: true,
      checkJs: true,
      skipLibCheck: true,
      paths: { skv: [join(dslFolder, 'index.ts')] },
    },
  });
  return project;
}

export function spanOf(node: Node): Span {
  const source = node.getSourceFile();
  const { line, column } = source.getLineAndColumnAtPos(node.getStart());
  return { file: source.getFilePath(), line, column, length: Math.max(1, node.getEnd() - node.getStart()) };
}

/** A file of the project, read again if it has changed. */
function upToDate(source: SourceFile): SourceFile {
  const path = source.getFilePath();
  if (!existsSync(path) || source.getFullText() !== textOf(path)) source.refreshFromFileSystemSync();
  return source;
}

/** Adds files to the project, or takes their changes up; many at once are checked together, which is much faster. */
export function preload(files: readonly string[]): SourceFile[] {
  const known = theProject();
  const sources = files.map((file) => {
    const old = known.getSourceFile(file);
    return old ? upToDate(old) : known.addSourceFileAtPath(file);
  });
  known.resolveSourceFileDependencies();
  for (const imported of new Set(sources.flatMap((source) => importsOf(source)))) upToDate(imported);
  return sources;
}

/** Throws PolicyErrors when there is no policy to go on with; other mistakes go to `gather`, or are thrown at the end. */
export function read(path: string, gather?: Collector): Syntax {
  return stage(gather, (errors) => {
    const file = resolve(path);
    const start: Span = { file, line: 1, column: 1, length: 1 };
    if (!existsSync(file)) {
      const hint = 'give the path of a policy file, or the name of a shipped policy';
      errors.report('no-policy', start, `There is no file ${path}.`, hint);
      errors.done();
    }
    if (!/\.m?[jt]s$/.test(file)) {
      const hint = 'save it as .ts or .js, with import { definePolicy } from "skv"';
      errors.report(
        'no-policy',
        start,
        `A policy is a module of TypeScript or JavaScript: .ts, .mts, .js or .mjs.`,
        hint,
      );
      errors.done();
    }
    const [source] = preload([file]);
    const files = [source, ...importsOf(source)];
    for (const checked of files) complain(checked, errors);
    for (const json of files.filter((each) => each.getFilePath().endsWith('.json'))) checkJson(json, errors);
    const [call, second] = source.getDescendantsOfKind(SyntaxKind.CallExpression).filter(isDefinePolicy);
    const literal = call?.getArguments()[0]?.asKind(SyntaxKind.ObjectLiteralExpression);
    if (!call) {
      errors.report(
        'no-policy',
        start,
        'No call of definePolicy was found.',
        "export default definePolicy({ name: 'mine', … })",
      );
    } else if (!literal) {
      const message = 'definePolicy needs an object literal: the compiler reads it, it does not run it.';
      errors.report('no-policy', spanOf(call), message, 'write the fields in place: definePolicy({ … })');
    }
    if (second) {
      errors.report(
        'duplicate-name',
        spanOf(second.getExpression()),
        'One file defines one policy.',
        'move this policy to a file of its own',
      );
    }
    if (!literal) errors.done();
    const texts = files.map((each): [string, string] => [each.getFilePath(), each.getFullText()]);
    return { file, source, literal: literal!, doc: docOf(call), files: new Map(texts) };
  });
}

/** What TypeScript lets pass of JSON: commas and comments that JSON has not, and a name that is there twice. */
function checkJson(source: SourceFile, errors: Collector): void {
  const named = source.getDescendantsOfKind(SyntaxKind.ObjectLiteralExpression).map((object) => object.getProperties());
  for (const members of named)
    for (const [i, member] of members.entries()) {
      const name = Node.isPropertyAssignment(member) ? nameOf(member) : member.getText();
      if (members.slice(0, i).some((each) => Node.isPropertyAssignment(each) && nameOf(each) === name))
        errors.report('duplicate-name', spanOf(member), `${name} is there twice.`, 'leave the one that you mean');
    }
  try {
    JSON.parse(source.getFullText().replace(/^\uFEFF/, ''));
  } catch (error) {
    const start: Span = { file: source.getFilePath(), line: 1, column: 1, length: 1 };
    const hint = 'names in double quotes, no comments, no comma at the end of a list';
    if (source.getPreEmitDiagnostics().length === 0)
      errors.report('type-error', start, `This is not JSON: ${(error as Error).message}.`, hint);
  }
}

const isDefinePolicy = (call: CallExpression): boolean =>
  declaredIn('policy.ts', definition(call.getExpression())) === 'definePolicy';

/** Files a policy imports or exports from, outside the dsl, each once. */
function importsOf(source: SourceFile, seen = new Set<SourceFile>([source])): SourceFile[] {
  const found: SourceFile[] = [];
  for (const declaration of [...source.getImportDeclarations(), ...source.getExportDeclarations()]) {
    const target = declaration.getModuleSpecifierSourceFile();
    if (!target || seen.has(target) || dirname(target.getFilePath()) === dslFolder) continue;
    seen.add(target);
    found.push(target, ...importsOf(target, seen));
  }
  return found;
}

function docOf(call: CallExpression): string {
  const statement = call.getFirstAncestor((node) => node.getParentIfKind(SyntaxKind.SourceFile) !== undefined) ?? call;
  const comment = statement.getLeadingCommentRanges().at(-1)?.getText() ?? '';
  return comment
    .replace(/^\/\*\*?|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*(\*|\/\/)\s?/, '').trim())
    .filter((line) => line)
    .join('\n');
}
