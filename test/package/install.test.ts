/**
 * What `npm pack` makes, as a stranger meets it: installed into an empty folder whose name has a blank, outside the clone,
 * with a policy of their own. Packages come from npm's cache where it has them. The native build of an installed package
 * lies in SKV_CACHE under its sources' hash, here below build/, so that an unchanged tree compiles it once.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { ggufParts, writeGguf } from '../model/write.ts';

const outside = mkdtempSync(join(tmpdir(), 'skv-package-'));
process.on('exit', () => rmSync(outside, { recursive: true, force: true }));
const folder = join(outside, 'a user');
const tarball = join(outside, 'packed');
mkdirSync(folder);
mkdirSync(tarball);

interface Packed {
  filename: string;
  unpackedSize: number;
  files: { path: string }[];
}

/** Runs to its end in the user's folder; fails with all it said. */
function run(command: string, args: string[], cwd = folder): string {
  const { NODE_OPTIONS: _, SKV_GENERATED: __, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...env, SKV_CACHE: join(root, 'build', 'package'), NO_COLOR: '1' },
  });
  assert.is(status, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
}

const npx = (...args: string[]): string => run('npx', ['--no-install', 'skv', ...args]);

const [packed] = JSON.parse(
  run('npm', ['pack', '--json', '--silent', '--pack-destination', tarball], root),
) as Packed[];
const paths = packed.files.map(({ path }) => path);

test('the package holds what it needs and nothing else', () => {
  const tops = [...new Set(paths.map((path) => path.split('/')[0]))].sort();
  assert.equal(tops, [
    'CMakeLists.txt',
    'LICENSE',
    'README.md',
    'bench',
    'cli',
    'codegen',
    'docs',
    'dsl',
    'eval',
    'package.json',
    'policies',
    'runtime',
    'templates',
    'toolchain',
  ]);
  const known = /\.(ts|mjs|js|h|hpp|cuh|cpp|hbs|json|txt|md)$|^LICENSE$/;
  assert.equal(
    paths.filter((path) => !known.test(path)),
    [],
    'kinds of files',
  );
  assert.equal(
    paths.filter((path) => /^docs\//.test(path)),
    ['docs/errors.md'],
  );
  assert.equal(
    paths.filter((path) => /\.py$|^bench\/peers\/.*\.cpp$|emulat|golden|\.test\.ts$/.test(path)),
    [],
    'tools of tests and of other systems',
  );
  assert.ok(paths.includes('templates/cuda/library.cuh'), 'the CUDA templates are there');
});

test('unpacked it has less than 1.5 MB', () => {
  assert.ok(packed.unpackedSize < 1_500_000, `${packed.unpackedSize} bytes`);
  assert.ok(paths.length < 400, `${paths.length} files`);
});

test('installed: init, build, test and tsc of a policy', () => {
  run('npm', ['init', '-y', '--silent']);
  const flags = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  run('npm', ['install', ...flags, join(tarball, packed.filename)]);
  npx('init');
  assert.ok(readdirSync(folder).includes('mine.ts'));
  npx('build', 'mine.ts');
  assert.match(npx('test', 'mine.ts', '--runs', '20'), /bit for bit/);
  run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '--noEmit', '-p', '.']);
});

test('installed: a tiny model runs with the policy', () => {
  writeFileSync(join(folder, 'tiny.gguf'), writeGguf(ggufParts()));
  const out = npx('run', '--model', './tiny.gguf', '--policy', './mine.ts', '--max-tokens', '3', 'a b c');
  assert.type(out, 'string');
});

test("installed: import … from 'skv' at run time", () => {
  writeFileSync(join(folder, 'use.mjs'), `import { topK } from 'skv';\nconsole.log(typeof topK);\n`);
  assert.is(run(process.execPath, ['use.mjs']).trim(), 'function');
});

test('installing leaves the package folder as npm wrote it', () => {
  const installed = (
    readdirSync(join(folder, 'node_modules', 'skv'), {
      recursive: true,
      withFileTypes: true,
    }) as import('node:fs').Dirent[]
  )
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name).slice(join(folder, 'node_modules', 'skv').length + 1))
    .filter((path) => !path.startsWith('node_modules/'));
  assert.equal(installed.sort(), [...paths].sort());
});

test.run();
