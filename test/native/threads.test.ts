/** The thread pool alone: what a section costs, what idling costs, and two pools on the same processors. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findProcessors } from '../../runtime/native/processors.ts';

const here = dirname(fileURLToPath(import.meta.url));
const native = join(here, '../../runtime/native/cpu');
const folder = mkdtempSync(join(tmpdir(), 'skv-threads-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function measure(cpus: [number, number]): Record<string, number> {
  const { status, stdout, stderr } = spawnSync(join(folder, 'threads'), cpus.map(String), { encoding: 'utf8' });
  assert.is(status, 0, stderr);
  return Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
      .map(([name, value]) => [name, Number(value)]),
  );
}

function judge(what: string, seen: Record<string, number>): void {
  const { hot, cold, idle, alone, shared0, shared1 } = seen;
  console.log(
    `${what}: a section costs ${hot.toFixed(1)} µs hot, ${cold.toFixed(1)} µs after 2 ms; one idle second ${(idle * 1000).toFixed(1)} ms of processor; sections a second ${alone.toFixed(0)} alone, ${shared0.toFixed(0)} and ${shared1.toFixed(0)} side by side`,
  );
  assert.ok(idle < 0.02, 'idle costs no processor');
  assert.ok(cold < 5000, 'sleepers wake');
  // half each would be perfect; other processes may take their share, from both alike
  assert.ok(Math.min(shared0, shared1) > 0.1 * alone, 'both progress');
  assert.ok(Math.min(shared0, shared1) > 0.3 * Math.max(shared0, shared1), 'at a fair rate');
}

test('sections, sleep and oversubscription', () => {
  const args = ['-O2', '-std=c++17', `-I${native}`, join(here, 'threads.cpp'), join(native, 'threads.cpp')];
  const { status, stderr } = spawnSync('c++', [...args, '-o', join(folder, 'threads'), '-lpthread'], {
    encoding: 'utf8',
  });
  assert.is(status, 0, stderr);
  const { all } = findProcessors();
  if (all.length > 1) judge('two processors', measure([all[0], all[1]]));
  judge('one processor for two threads', measure([all[0], all[0]]));
});

test.run();
