/**
 * What others import of the dsl: dsl/*.ts as JavaScript and declarations in dsl/js. Node reads no TypeScript below
 * node_modules, and TypeScript would hold our sources to the author's settings. The folder is committed, since `npm pack`
 * runs no script here (.npmrc). `UPDATE=1 node --import tsx test/package/dsl.test.ts` writes it.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as dsl from '../../dsl/index.ts';
import { root } from '../../toolchain/folders.mjs';

const folder = join(root, 'dsl', 'js');

/** File name → text. */
function printed(): Record<string, string> {
  const files: Record<string, string> = {};
  const program = ts.createProgram([join(root, 'dsl', 'index.ts')], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    types: [],
    strict: true,
    declaration: true,
    allowImportingTsExtensions: true,
    rewriteRelativeImportExtensions: true,
    outDir: folder,
    newLine: ts.NewLineKind.LineFeed,
  });
  const { diagnostics } = program.emit(undefined, (path, text) => {
    // TypeScript leaves the endings in declarations as they are
    files[relative(folder, path)] = text.replace(/from '(\.\/\w+)\.ts'/g, "from '$1.js'");
  });
  assert.equal(
    [...ts.getPreEmitDiagnostics(program), ...diagnostics].map(({ messageText }) => messageText),
    [],
  );
  return files;
}

test('dsl/js is the dsl, printed', async () => {
  const files = printed();
  if (process.env.UPDATE) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  }
  assert.equal(readdirSync(folder).sort(), Object.keys(files).sort());
  const stale = Object.keys(files).filter((name) => readFileSync(join(folder, name), 'utf8') !== files[name]);
  assert.equal(stale, [], 'UPDATE=1 writes them');
});

test('it has the same values', async () => {
  const path = join(folder, 'index.js');
  const js = (await import(path)) as typeof dsl;
  assert.equal(Object.keys(js).sort(), Object.keys(dsl).sort());
  for (const x of [-87.5, -1, 0, 0.3, 1, 88]) assert.is(js.exp(x), dsl.exp(x));
});

test.run();
