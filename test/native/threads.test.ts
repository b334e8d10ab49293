/** The thread pool alone: every item once, idling costs nothing, pools share processors. `skv bench kernels` has its times. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findProcessors } from '../../runtime/native/processors.ts';
import { compiler } from '../../toolchain/compilers.ts';

const here = dirname(fileURLToPath(import.meta.url));
const native = join(here, '../../runtime/native/cpu');
const folder = mkdtempSync(join(tmpdir(), 'skv-threads-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const program = join(folder, 'threads');

test('the driver compiles', () => {
  const args = ['-O2', '-std=c++17', `-I${native}`, join(here, 'threads.cpp'), join(native, 'threads.cpp')];
  const [cxx, ...own] = compiler();
  const { status, stderr } = spawnSync(cxx, [...own, ...args, '-o', program, '-lpthread'], { encoding: 'utf8' });
  assert.is(status, 0, stderr);
});

const { all } = findProcessors();
for (const [what, cpus] of [
  ['two processors', [all[0], all[all.length > 1 ? 1 : 0]]],
  ['one processor for two threads', [all[0], all[0]]],
] as const)
  test(`${what}: every item runs, sleepers wake, two pools side by side both finish`, () => {
    const { status, stdout, stderr } = spawnSync(program, cpus.map(String), { encoding: 'utf8' });
    assert.is(status, 0, stderr);
    const { idle, done } = JSON.parse(stdout) as { idle: number; done: number[] };
    assert.equal(done, [1500, 1500]);
    // processor time, to which other processes add nothing; a thread that spins takes what they leave it
    assert.ok(idle < 0.02, `an idle second takes ${(idle * 1000).toFixed(1)} ms of processor`);
  });

test.run();
