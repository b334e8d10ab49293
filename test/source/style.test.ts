/** What docs and CONTRIBUTING.md ask of the code and no other tool looks at. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Node, Project, type SourceFile } from 'ts-morph';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { type Read, read } from './cpp.ts';
import { sources } from './format.ts';

/** Lines of a function that about fits a screen; a longer one says why in its comment, in a sentence that begins so. */
const SCREEN = 66;
const REASON = /One function/;

const cpp = sources.map((file) => {
  const text = readFileSync(join(root, file), 'utf8');
  return { file, lines: text.split('\n'), ...read(text) };
});

const CONTROL = /^(?:else|do|SKV_UNROLL|if(?: constexpr)?\s*\(…\)|for\s*\(…\)|while\s*\(…\)|case [^:]*:|default:)\s*/;

/** `a = 1, b = 2;` and `return x = 1, y;`, not `int a = 1, b = 2;`. */
export function hasCommaOperator(statement: string): boolean {
  let text = statement;
  for (let before = ''; before !== text; ) {
    before = text;
    text = text
      .replace(/(\w)<[\w\s:,*&…()]*>/g, '$1')
      .replace(CONTROL, '')
      .trim();
  }
  if (!text.includes(',') || /^[\w:]+\(…?\) :/.test(text)) return false; // a constructor's members
  if (/^return\b/.test(text)) return true; // brackets of calls and lists are read apart
  const first = text.slice(0, text.indexOf(','));
  const place = String.raw`[*&]*(?:\w+::)*\w+(?:(?:\.|->)\w+|\[…\]|\(…?\))*`;
  return new RegExp(
    `^(?:${place}\\s*(?:[-+*/|&^%]|<<|>>)?=(?!=)|(?:\\+\\+|--)${place}|${place}(?:\\+\\+|--)|${place}\\(…?\\)|${place}\\(…?\\)$)`,
  ).test(first);
}

/** A list of more than four values that are told apart by their places alone, for a struct. */
export function isPositional({ before, elements }: Read['lists'][number]): boolean {
  if (elements.length <= 4 || elements.some((each) => each.startsWith('.') || /^\w+ = /.test(each))) return false;
  // an array, a vector of the processor's, a list for a loop or a call
  if (/\[…\]\s*=?$|\b(vector|array|initializer_list|[fiu]\d+x\d+)\b|:$|^$/.test(before)) return false;
  return true;
}

const isFunction = (header: string): boolean =>
  /\)\s*(const|noexcept|override|->\s*[\w:<>*&\s]+|:\s*[^;]*)*$/.test(header) &&
  !/^(else|if|for|while|switch|do|catch|SKV_UNROLL)\b/.test(header);

/** The comment right above a line. */
function commentAbove(lines: readonly string[], line: number): string {
  let from = line - 1;
  while (from > 0 && /^\s*(\/\/|\/?\*|template\b|SKV_|__)|\*\/\s*$/.test(lines[from - 1])) from--;
  return lines.slice(from, line).join('\n');
}

test('the reader of C++ sees what it should', () => {
  const seen = read(
    'void f(int a, int b) {\n  x = 1, y[2] = g(3, 4);\n  int c = 1, d = 2;\n  Foo foo = {1, 2, 3, 4, 5};\n  int t[] = {1, 2, 3, 4, 5};\n  g([&] { p++, q++; });\n  return *why = 1, nullptr;\n}\n',
  );
  const commas = seen.statements.filter(({ text }) => hasCommaOperator(text)).map(({ line }) => line);
  assert.equal(commas, [2, 6, 7]);
  assert.equal(
    seen.lists.filter(isPositional).map(({ line }) => line),
    [4],
  );
  assert.equal(seen.bodies.filter(({ header }) => isFunction(header)).length, 1);
});

/** What only GCC knows, and the one place that has clang's word for it beside. */
const GCC_ONLY: readonly [what: RegExp, where: RegExp][] = [
  [/\b__builtin_shuffle\b/, /^templates\/cpu\/simd\.hpp$/],
  [/\btarget_clones\b/, /^runtime\/native\/cpu\/elementwise\.cpp$/],
  [/#pragma GCC (?:target|(?:push|pop)_options)\b/, /^runtime\/native\/cpu\/matmul_(?:dotprod|i8mm)\.cpp$/],
  [/#pragma GCC (?:optimize|ivdep)\b|\b__float128\b/, /^$/],
];

test('what only GCC knows is said in one place, with clang’s word beside', () => {
  const found = cpp.flatMap(({ file, lines }) =>
    lines.flatMap((line, i) =>
      GCC_ONLY.filter(([what, where]) => what.test(line) && !where.test(file)).map(() => `${file}:${i + 1}: ${line}`),
    ),
  );
  assert.equal(found, []);
  for (const [what, where] of GCC_ONLY.slice(0, -1)) {
    const places = cpp.filter(({ file }) => where.test(file));
    assert.ok(places.length > 0, String(where));
    for (const { file, lines } of places) {
      assert.ok(
        lines.some((line) => what.test(line)),
        `${file}: ${what} is not there any more`,
      );
      assert.ok(
        lines.some((line) => line.includes('__clang__')),
        `${file} asks for clang`,
      );
    }
  }
});

test('no comma operator strings statements together', () => {
  const found = cpp.flatMap(({ file, statements }) =>
    statements.filter(({ text }) => hasCommaOperator(text)).map(({ text, line }) => `${file}:${line}: ${text}`),
  );
  assert.equal(found, []);
});

test('structs of more than four fields are filled by name', () => {
  const found = cpp.flatMap(({ file, lists }) =>
    lists.filter(isPositional).map(({ before, elements, line }) => `${file}:${line}: ${before} {${elements.length}}`),
  );
  assert.equal(found, []);
});

test(`functions of more than ${SCREEN} lines say why, in C++`, () => {
  const found = cpp.flatMap(({ file, lines, bodies }) =>
    bodies
      .filter(({ header, first, last }) => last - first + 1 > SCREEN && isFunction(header))
      .filter(({ first }) => !REASON.test(commentAbove(lines, first)))
      .map(({ header, first, last }) => `${file}:${first}: ${last - first + 1} lines: ${header.slice(-80)}`),
  );
  assert.equal(found, []);
});

/** Functions of a TypeScript file that are too long, without their reason. */
function tooLong(file: SourceFile): string[] {
  return file
    .getDescendants()
    .filter(
      (node) =>
        Node.isFunctionDeclaration(node) ||
        Node.isMethodDeclaration(node) ||
        Node.isArrowFunction(node) ||
        Node.isConstructorDeclaration(node),
    )
    .filter((node) => node.getEndLineNumber() - node.getStartLineNumber() + 1 > SCREEN)
    .filter((node) => {
      const outer = node.getFirstAncestor((each) => Node.isVariableStatement(each) || Node.isFunctionDeclaration(each));
      const comments = [node, outer].map((each) => each?.getFullText().slice(0, 2000) ?? '');
      return !comments.some((text) => REASON.test(text));
    })
    .map((node) => {
      const [first, last] = [node.getStartLineNumber(), node.getEndLineNumber()];
      return `${file.getFilePath().slice(root.length + 1)}:${first}: ${last - first + 1} lines`;
    });
}

test(`functions of more than ${SCREEN} lines say why, in TypeScript`, () => {
  const project = new Project({ skipAddingFilesFromTsConfig: true });
  const rooms = ['bench', 'cli', 'codegen', 'dsl', 'eval', 'policies', 'runtime', 'toolchain'];
  const files = rooms.flatMap((room) =>
    (readdirSync(join(root, room), { recursive: true }) as string[])
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(root, room, name)),
  );
  assert.equal(
    files.flatMap((file) => tooLong(project.addSourceFileAtPath(file))),
    [],
  );
});

test.run();
