/** gpu.sh of the bundle, as far as a machine without a GPU can go: it compiles, and says what is missing. driver.test.ts has the whole bundle. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { installWheels } from '../../toolchain/wheels.ts';
import { writeBundle } from './bundle.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-bundle-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
const folder = join(home, 'bundle');
await writeBundle(folder, ['knorm']);

const run = (command: string, args: string[], options: { cwd?: string; env?: Record<string, string> } = {}) => {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    encoding: 'utf8',
  });
  return { status, out: stdout, err: stderr };
};

test('a folder that holds something is left alone', async () => {
  await writeBundle(folder, []).then(
    () => assert.unreachable('it overwrites'),
    (error: Error) => assert.match(error.message, /is not empty/),
  );
});

test('gpu.sh compiles with the wheels’ nvcc, and says that nothing can run here', async () => {
  const env = { CUDA_PATH: join(await installWheels(), 'nvidia', 'cu13'), ARCH: '90', JOBS: '2' };
  const built = run('./gpu.sh', ['build'], { cwd: folder, env });
  assert.is(built.status, 0, built.err);
  const { mtimeMs } = statSync(join(folder, 'build', 'knorm', 'policy.so'));
  const tested = run('./gpu.sh', ['test'], { cwd: folder, env });
  assert.is(tested.status, 1);
  assert.match(tested.err, /there is no CUDA device to run on: .*Run this on a machine with an NVIDIA GPU/);
  assert.is(statSync(join(folder, 'build', 'knorm', 'policy.so')).mtimeMs, mtimeMs, 'compiled once');
  if (!existsSync('/usr/local/cuda/bin/nvcc')) {
    const bare = process.env.PATH!.split(':').filter((each) => !existsSync(join(each, 'nvcc')));
    const copied = run('./gpu.sh', ['test'], { cwd: folder, env: { PATH: bare.join(':'), CUDA_PATH: '' } });
    assert.match(copied.err, /running build\/ as it was copied[\s\S]*there is no CUDA device/);
  }
  writeFileSync(join(folder, 'policies', 'knorm', 'policy.cu'), 'not C++');
  const broken = run('./gpu.sh', ['build'], { cwd: folder, env });
  assert.is(broken.status, 1);
  assert.match(broken.err, /policy\.cu.*error[\s\S]*FAIL knorm does not compile[\s\S]*gpu\.sh: something does not/);
  assert.ok(existsSync(join(folder, 'build', 'driver', 'driver')), 'the rest is kept');
});

test('gpu.sh says what is missing', () => {
  for (const [env, says] of [
    [{ CUDA_PATH: '/nowhere' }, /CUDA_PATH \/nowhere has no bin\/nvcc/],
    [{ CUDA_PATH: join(home, 'empty') }, /has no bin\/nvcc/],
  ] as const) {
    const { status, err } = run('./gpu.sh', ['test'], { cwd: folder, env });
    assert.is(status, 1);
    assert.match(err, says);
  }
  assert.match(run('./gpu.sh', [], { cwd: folder }).out, /\.\/gpu\.sh bench +the table of kernels/);
  assert.is(run('python3', ['-m', 'py_compile', join(folder, 'torch_peer.py')]).status, 0);
});

test.run();
