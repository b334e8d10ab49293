/**
 * Who may import whom. The drawing is the table of docs/architecture.md; this test reads it there and holds the code
 * against it, types-only imports included: a circle of types is a circle.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';

/** Rows `| room | holds | may import |` of the drawing: names of rooms in backticks. */
function drawing(): Map<string, string[]> {
  const text = readFileSync(join(root, 'docs', 'architecture.md'), 'utf8');
  const rows = [...text.matchAll(/^\| `([^`]+)` \|[^|]*\|([^|]*)\|$/gm)];
  return new Map(rows.map(([, name, may]) => [name, [...may.matchAll(/`([^`]+)`/g)].map(([, other]) => other)]));
}

const rooms = drawing();

/** The room of a file: the longest name of the drawing that it lies under. */
const roomOf = (file: string): string | undefined =>
  [...rooms.keys()].filter((name) => file.startsWith(`${name}/`)).sort((a, b) => b.length - a.length)[0];

interface Import {
  from: string;
  to: string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const found: Import[] = [];
  for (const match of text.matchAll(/^\s*(?:import|export)\s[^;]*?from\s+'([^']+)'|import\('([^']+)'\)/gm)) {
    const target = match[1] ?? match[2];
    if (target === 'skv') found.push({ from: file, to: 'dsl/index.ts' });
    if (target.startsWith('.')) found.push({ from: file, to: normalize(join(dirname(file), target)) });
  }
  return found;
}

const files = [...new Set([...rooms.keys()].map((name) => name.split('/')[0]))].flatMap((top) =>
  (readdirSync(join(root, top), { recursive: true }) as string[])
    .map((name) => join(top, name))
    .filter((name) => name.endsWith('.ts')),
);
const imports = files.flatMap(importsOf);

/** Circles of a graph, each as its path. */
function circles(edges: readonly Import[]): string[] {
  const next = new Map<string, Set<string>>();
  for (const { from, to } of edges) if (from !== to) next.set(from, (next.get(from) ?? new Set()).add(to));
  const state = new Map<string, 'open' | 'done'>();
  const found: string[] = [];
  const walk = (at: string, path: string[]): void => {
    if (state.get(at) === 'open') found.push([...path.slice(path.indexOf(at)), at].join(' → '));
    if (state.has(at)) return;
    state.set(at, 'open');
    for (const each of next.get(at) ?? []) walk(each, [...path, at]);
    state.set(at, 'done');
  };
  for (const from of next.keys()) walk(from, []);
  return found;
}

test('the drawing names rooms that are there, and every file has one', () => {
  assert.ok(rooms.size > 10, 'the table is found');
  for (const [name, may] of rooms) {
    assert.ok(
      files.some((file) => roomOf(file) === name),
      `${name} holds no file`,
    );
    for (const other of may) assert.ok(rooms.has(other), `${name} may import ${other}, which is no room`);
  }
  assert.equal(
    files.filter((file) => roomOf(file) === undefined),
    [],
  );
});

test('imports follow the drawing', () => {
  assert.ok(imports.length > 20, 'the scan finds imports');
  const wrong = imports.filter(({ from, to }) => {
    const [source, target] = [roomOf(from)!, roomOf(to)];
    return to !== 'package.json' && target !== source && !rooms.get(source)!.includes(target!);
  });
  assert.equal(
    wrong.map((edge) => `${edge.from} → ${edge.to}`),
    [],
  );
});

test('the drawing itself has no circle', () => {
  const edges = [...rooms].flatMap(([from, may]) => may.map((to) => ({ from, to })));
  assert.equal(circles(edges), []);
});

test('no circle of files, types included', () => assert.equal(circles(imports), []));

test('every arrow of the drawing is used', () => {
  const used = new Set(imports.map(({ from, to }) => `${roomOf(from)} → ${roomOf(to)}`));
  const drawn = [...rooms].flatMap(([from, may]) => may.map((to) => `${from} → ${to}`));
  assert.equal(
    drawn.filter((arrow) => !used.has(arrow)),
    [],
  );
});

test('the dsl imports no package at all', () => {
  for (const file of files.filter((name) => name.startsWith('dsl/'))) {
    const code = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    assert.not.match(code, /from '(?!\.)/, file);
  }
});

test('only the compiler touches ts-morph and TypeScript', () => {
  const users = files.filter((name) => /from '(ts-morph|typescript)'/.test(readFileSync(join(root, name), 'utf8')));
  assert.equal(
    users.filter((name) => !/^codegen\/(front|oracle)\//.test(name)),
    [],
  );
});

test('scheduler, block manager, prefix cache and server are the same code on every device', () => {
  const shared = files.filter((name) => /^runtime\/(engine|server|model|grammar)\//.test(name));
  assert.ok(shared.length > 20, 'the scan finds them');
  assert.equal(
    shared.filter((name) => /cuda|nvcc|nvidia/i.test(readFileSync(join(root, name), 'utf8'))),
    [],
  );
});

test.run();
