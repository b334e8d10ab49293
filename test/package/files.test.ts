/** What the package holds: everything that its own files import, nothing that only a clone needs. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { pack } from './pack.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv pack-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const { files, unpackedSize } = pack(folder);
const paths = files.map(({ path }) => path);

/** What each folder may hold. */
const kinds: Record<string, RegExp> = {
  bench: /\.(ts|cpp|h)$/,
  cli: /\.(ts|mjs)$/,
  codegen: /\.ts$/,
  dsl: /\.(ts|js)$/,
  eval: /\.ts$/,
  policies: /\.(ts|json)$/, // a table beside its policy
  runtime: /\.(ts|cpp|h|cu|cuh|html)$/,
  templates: /\.(hbs|h|hpp|cpp|cuh|txt)$/,
  toolchain: /\.(ts|mjs|txt)$/,
};

test('every file has a reason', () => {
  const odd = paths.filter((path) => {
    const [top, ...rest] = path.split('/');
    if (rest.length === 0) return !['CMakeLists.txt', 'LICENSE', 'README.md', 'package.json'].includes(path);
    if (path === 'docs/errors.md') return false; // what `skv errors` shows
    return !kinds[top]?.test(path) || path.includes('.test.');
  });
  assert.equal(odd, []);
  for (const path of ['bench/peers/llama.ts', 'runtime/contract/print.ts']) assert.not(paths.includes(path), path);
});

test('it is small: text alone', () => {
  assert.ok(unpackedSize > 500_000, `${unpackedSize} bytes`);
  assert.ok(unpackedSize < 2_500_000, `${unpackedSize} bytes`);
  for (const { path, size } of files) assert.ok(size < 30_000, `${path}: ${size} bytes`);
});

/** Module names in a source's import and export statements, and in calls of import(). */
function imports(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  return [
    ...text.matchAll(/^\s*(?:import|export)\s(?!type\b)(?:[^;'"]*?from\s+)?['"]([^'"]+)['"]|\bimport\('([^']+)'\)/gm),
  ].map(([, from, called]) => from ?? called);
}

const sources = paths.filter((path) => /\.(ts|mjs|js)$/.test(path) && !path.endsWith('.d.ts'));

test('whatever a file of it imports is there', () => {
  const missing = sources.flatMap((path) =>
    imports(path)
      .filter((name) => name.startsWith('.'))
      .map((name) => normalize(join(dirname(path), name)))
      .filter((target) => !paths.includes(target))
      .map((target) => `${path}: ${target}`),
  );
  assert.ok(sources.length > 100);
  assert.equal(missing, []);
});

test('whatever package a file of it imports is a dependency, or is asked for when it is missing', () => {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const asked = ['vega', 'vega-lite', 'node-llama-cpp']; // bench/plot.ts, eval/llama.ts
  const own = ['skv', ...builtinModules, ...asked, ...Object.keys(dependencies)];
  const unknown = sources.flatMap((path) =>
    imports(path)
      .filter((name) => !name.startsWith('.') && !name.startsWith('node:'))
      .filter(
        (name) => !own.includes(name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : name.split('/')[0]),
      )
      .map((name) => `${path}: ${name}`),
  );
  assert.equal(unknown, []);
});

test.run();
