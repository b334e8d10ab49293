/** What other tools say of the source: types, lints, files that nothing uses, layout (`npm run format` mends it). */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root } from '../../toolchain/folders.mjs';
import { clangFormat, sources } from './format.ts';

/** One of the packages' programs, as the lock file has it. */
function passes(program: string, ...args: string[]): void {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules', program), ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  assert.is(status, 0, stdout + stderr);
}

test('tsc', () => passes('typescript/bin/tsc', '-p', 'tsconfig.json'));

test('biome', () => passes('@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'));

test('knip', () => passes('knip/bin/knip.js', '--treat-config-hints-as-errors'));

test('clang-format', () => {
  assert.ok(sources.length > 50, 'the files are found');
  const { status, output } = clangFormat('--dry-run', '-Werror', '--fno-color-diagnostics');
  const files = [...output.matchAll(/^(\S+?):\d+:\d+: error/gm)].map(([, file]) => file);
  assert.equal([...new Set(files)], [], 'run: npm run format');
  assert.is(status, 0, output);
});

test.run();
