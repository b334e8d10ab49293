/** Who may import whom: the direction in which data flows, and no cycles. */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What a folder's files may import from; types-only imports follow their own column. */
const allowed: Record<string, { values: string[]; types: string[] }> = {
  dsl: { values: [], types: [] },
  policies: { values: ['dsl'], types: [] },
  codegen: { values: ['dsl'], types: [] },
  'runtime/native': { values: ['codegen/toolchain.ts'], types: [] }, // that one file: it imports nothing of ours
  'runtime/model': { values: ['runtime/native', 'codegen/toolchain.ts'], types: [] },
  'runtime/engine': { values: ['runtime/native', 'runtime/model'], types: ['codegen'] },
  'runtime/server': { values: ['runtime/engine', 'runtime/model', 'runtime/native'], types: ['codegen'] },
  cli: {
    values: ['dsl', 'codegen', 'bench', 'runtime/native', 'runtime/model', 'runtime/engine', 'runtime/server'],
    types: [],
  },
  bench: {
    values: ['dsl', 'codegen', 'cli', 'runtime/native', 'runtime/model', 'runtime/engine', 'runtime/server'],
    types: [],
  },
};

interface Import {
  from: string;
  to: string;
  typeOnly: boolean;
}

const room = (file: string) => Object.keys(allowed).find((name) => file.startsWith(`${name}/`));

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const found: Import[] = [];
  for (const match of text.matchAll(/^\s*(?:import|export)\s+(type\s+)?[^;]*?from\s+'([^']+)'|import\('([^']+)'\)/gm)) {
    const target = match[2] ?? match[3];
    if (target === 'skv') found.push({ from: file, to: 'dsl/index.ts', typeOnly: false });
    if (target.startsWith('.'))
      found.push({ from: file, to: normalize(join(dirname(file), target)), typeOnly: match[1] !== undefined });
  }
  return found;
}

const files = (readdirSync(root, { recursive: true }) as string[])
  .map((name) => relative('.', name))
  .filter((name) => name.endsWith('.ts') && room(name) !== undefined);
const imports = files.flatMap(importsOf);

test('imports follow the direction of the architecture', () => {
  assert.ok(imports.length > 20, 'the scan finds imports');
  const wrong = imports.filter(({ from, to, typeOnly }) => {
    const [source, target] = [room(from)!, room(to)];
    if (target === source || to === 'package.json') return false;
    if (target === undefined) return true;
    return !(
      [target, to].some((name) => allowed[source].values.includes(name)) ||
      (typeOnly && allowed[source].types.includes(target))
    );
  });
  assert.equal(
    wrong.map((edge) => `${edge.from} → ${edge.to}`),
    [],
  );
});

test('the dsl imports no package at all', () => {
  for (const file of files.filter((name) => name.startsWith('dsl/'))) {
    const code = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    assert.not.match(code, /from '(?!\.)/, file);
  }
});

test('only read, lower, host and types-level code touch ts-morph', () => {
  const users = files.filter((name) => /from '(ts-morph|typescript)'/.test(readFileSync(join(root, name), 'utf8')));
  assert.equal(
    users.filter((name) => room(name) !== 'codegen'),
    [],
  );
});

test('no import cycles between files', () => {
  const edges = new Map<string, string[]>();
  for (const { from, to, typeOnly } of imports) if (!typeOnly) edges.set(from, [...(edges.get(from) ?? []), to]);
  const state = new Map<string, 'open' | 'done'>();
  const walk = (file: string, path: string[]): void => {
    if (state.get(file) === 'done') return;
    assert.is.not(state.get(file), 'open', `cycle: ${[...path.slice(path.indexOf(file)), file].join(' → ')}`);
    state.set(file, 'open');
    for (const next of edges.get(file) ?? []) walk(next, [...path, file]);
    state.set(file, 'done');
  };
  for (const file of files) walk(file, []);
});

test.run();
