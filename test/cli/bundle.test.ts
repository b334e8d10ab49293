/** The command line's bundle: made once, made again when a source changes, done without where it cannot be written. */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';

const copy = mkdtempSync(join(tmpdir(), 'skv-bundle-'));
process.on('exit', () => rmSync(copy, { recursive: true, force: true }));
const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
for (const part of [...files.filter((name) => !name.startsWith('!')), 'package.json'])
  cpSync(join(root, part), join(copy, part), { recursive: true });
symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));

const bundles = () =>
  readdirSync(join(copy, 'build', 'js')).filter((name) => existsSync(join(copy, 'build', 'js', name, 'main.js')));

/** `skv build nowhere`, which loads a command and lists the policies beside it. */
function skv(): void {
  const { status, stderr } = spawnSync(process.execPath, [join(copy, 'cli', 'skv.mjs'), 'build', 'nowhere'], {
    encoding: 'utf8',
    cwd: tmpdir(),
  });
  assert.is(status, 1, stderr);
  assert.match(stderr, /^skv: There is no policy nowhere: .*streaming, tova\b/);
}

test('the second start finds the bundle of the first, a changed source makes another', () => {
  skv();
  const [first, ...others] = bundles();
  assert.equal(others, []);
  skv();
  assert.equal(bundles(), [first]);
  appendFileSync(join(copy, 'cli', 'output.ts'), '\n// changed\n');
  skv();
  assert.is(bundles().length, 2);
  assert.equal(
    readdirSync(join(copy, 'build', 'js')).filter((name) => name.endsWith('.tmp')),
    [],
  );
});

test('where it cannot be written, the sources run', () => {
  rmSync(join(copy, 'build'), { recursive: true });
  writeFileSync(join(copy, 'build'), 'a file in the way');
  skv();
});

test.run();
