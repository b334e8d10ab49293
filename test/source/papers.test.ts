/** What the papers say of the tree: links lead somewhere, paths exist, a figure that stands twice is the same figure. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';

const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const skipped = /(^|\/)(node_modules|build|generated|golden)(\/|$)/;

const all = ['.', 'docs', 'templates', 'test', 'runtime', 'codegen', 'bench'].flatMap((folder) =>
  (readdirSync(join(root, folder), { recursive: folder !== '.' }) as string[])
    .map((name) => normalize(join(folder, name)))
    .filter((name) => name.endsWith('.md') && !skipped.test(name)),
);

/** GitHub's anchor of a heading. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[`*]/g, '')
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replace(/ /g, '-');

const anchorsOf = (text: string): string[] => [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchor(heading));

test('links between papers lead somewhere', () => {
  assert.ok(all.length > 8, 'the papers are found');
  const dead = all.flatMap((file) =>
    [...read(file).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target]) => target)
      .filter((target) => !/^[a-z]+:/.test(target))
      .filter((target) => {
        const [path, fragment] = target.split('#');
        const to = path ? normalize(join(dirname(file), path)) : file;
        if (!existsSync(join(root, to))) return true;
        return fragment !== undefined && !anchorsOf(read(to)).includes(fragment);
      })
      .map((target) => `${file}: ${target}`),
  );
  assert.equal(dead, []);
});

test('paths that papers and comments name exist', () => {
  const tops = 'bench|cli|codegen|docs|dsl|eval|policies|runtime|templates|test|toolchain';
  const named = new RegExp(
    `(?<![\\w/.-])(?:${tops})/[\\w./-]*\\.(?:ts|mjs|cpp|h|hpp|cuh|hbs|md|txt|svg|sh|py)\\b`,
    'g',
  );
  const sources = ['bench', 'cli', 'codegen', 'dsl', 'eval', 'runtime', 'templates', 'test', 'toolchain'].flatMap(
    (top) =>
      (readdirSync(join(root, top), { recursive: true }) as string[])
        .map((name) => join(top, name))
        .filter(
          (name) => /\.(ts|mjs|cpp|h|hpp|cuh|hbs)$/.test(name) && !skipped.test(name) && !name.startsWith('test/'),
        ),
  );
  const gone = [...all, ...sources].flatMap((file) => {
    const text = file.endsWith('.md') ? read(file) : [...read(file).matchAll(/(?:\/\/|\/?\*).*$/gm)].join('\n');
    return [...text.matchAll(named)]
      .map(([path]) => path)
      .filter((path) => !existsSync(join(root, path)) && !/\bmine\./.test(path)) // the reader's own
      .map((path) => `${file}: ${path}`);
  });
  assert.equal([...new Set(gone)], []);
});

test("README's table is part of docs/performance.md's", () => {
  const rows = (text: string) =>
    [...text.matchAll(/^\| ((?:prefill|decode|8 ×)[^|]*) \|(.*)\|$/gm)].map(([, name, cells]) => ({
      name,
      cells: cells.split('|').map((cell) => cell.trim()),
    }));
  const figures = rows(read('docs/performance.md'));
  const shown = rows(read('README.md'));
  assert.ok(shown.length >= 3, 'the table is found');
  for (const { name, cells } of shown) {
    const same = figures.filter((row) => row.name === name); // of several machines
    const missing = same.map((row) => cells.filter((cell) => cell !== '–' && !row.cells.includes(cell)));
    assert.ok(
      missing.some((none) => none.length === 0),
      `${name}: ${cells.join(', ')}`,
    );
  }
});

test('every paper of docs/ is in its table of contents', () => {
  const index = read('docs/README.md');
  for (const name of readdirSync(join(root, 'docs')).filter((each) => each.endsWith('.md') && each !== 'README.md'))
    assert.ok(index.includes(`](${name})`), name);
});

test('the papers a stranger looks for are there', () => {
  for (const name of [
    'LICENSE',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'docs/decisions.md',
    'docs/experiments.md',
    'docs/roadmap.md',
  ])
    assert.ok(existsSync(join(root, name)), name);
  const { license } = JSON.parse(read('package.json')) as { license: string };
  assert.is(license, 'Apache-2.0');
  assert.match(read('LICENSE'), 'Apache License');
});

test('every folder of tests has its line', () => {
  const folders = readdirSync(join(root, 'test'), { withFileTypes: true }).filter((each) => each.isDirectory());
  const listed = [...read('test/README.md').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  assert.equal(listed.sort(), folders.map(({ name }) => name).sort());
});

test.run();
