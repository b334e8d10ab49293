/** The whole bundle without a GPU: what is in it, every policy's emulated kernels pass the vectors by its driver, and what is off fails. */
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { emulateSources } from '../emulation/emulate.ts';
import { root } from '../../toolchain/folders.mjs';
import { MOST, shippedPolicies, sourcesIn, writeBundle } from './bundle.ts';

const home = mkdtempSync(join(tmpdir(), 'skv-bundle-'));
process.on('exit', () => rmSync(home, { recursive: true, force: true }));
const folder = join(home, 'bundle');
const size = await writeBundle(folder, shippedPolicies);
const emulated = join(home, 'emulated');
const driver = join(emulated, 'driver');
const vectors = (policy: string) =>
  readdirSync(join(folder, 'vectors'))
    .filter((name) => name.startsWith(`${policy}-`))
    .map((name) => join(folder, 'vectors', name));

/** The emulations, two compilers at a time. */
const libraries: Promise<string>[] = [];
shippedPolicies.forEach((policy, i) =>
  libraries.push((libraries[i - 2] ?? Promise.resolve('')).then(() => emulateSources(sourcesIn(folder, policy)))),
);
for (const library of libraries) library.catch(() => undefined); // told by its own test

const run = (command: string, args: string[], options: { cwd?: string; env?: Record<string, string> } = {}) => {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    encoding: 'utf8',
  });
  return { status, out: stdout, err: stderr };
};

test('it has every policy with vectors, is small, and names nothing of this machine', () => {
  assert.ok(size <= MOST, `${size} bytes`);
  assert.equal(readdirSync(join(folder, 'policies')), shippedPolicies);
  for (const policy of shippedPolicies) assert.ok(vectors(policy).length >= 2, policy);
  // the one that gpu.sh gives to compute-sanitizer
  for (const policy of shippedPolicies)
    assert.is(vectors(policy).filter((name) => /-128x.x2-268\.vec$/.test(name)).length, 1, policy);
  for (const name of readdirSync(folder, { recursive: true }) as string[]) {
    const path = join(folder, name);
    if (!statSync(path).isFile() || name.endsWith('.vec')) continue;
    assert.not.match(readFileSync(path, 'utf8'), root, name);
    assert.not.match(name, /\.hbs$/);
  }
  assert.ok(statSync(join(folder, 'gpu.sh')).mode & 0o100);
});

test('the driver, built for the emulation', () => {
  mkdirSync(emulated);
  const sources = readdirSync(join(folder, 'driver')).filter((name) => name.endsWith('.cpp'));
  const args = ['-std=c++17', '-O1', '-Wall', '-Wextra', '-Werror', '-DSKV_EMULATED', `-I${join(folder, 'contract')}`];
  const { status, err } = run('c++', [...args, ...sources, '-ldl', '-o', driver], { cwd: join(folder, 'driver') });
  assert.is(status, 0, err);
});

shippedPolicies.forEach((policy, i) =>
  test(`${policy}: the emulated kernels pass the vectors`, async () => {
    const library = await libraries[i];
    mkdirSync(join(emulated, policy));
    symlinkSync(library, join(emulated, policy, 'policy.so'));
    const { status, out, err } = run(driver, ['test', join(emulated, policy, 'policy.so'), ...vectors(policy)]);
    assert.is(status, 0, `${out}${err}`);
    assert.is(out.trim().split('\n').length, vectors(policy).length);
  }),
);

test('a number that is off, and a slot that should not be kept, fail', () => {
  const [vector] = vectors('h2o').filter((name) => /bf16-f32-64x2x2/.test(name));
  const bytes = readFileSync(vector);
  const answer = 24 + bytes.readInt32LE(20);
  const check = (change: (copy: Buffer) => void, says: RegExp) => {
    const copy = Buffer.from(bytes);
    change(copy);
    const path = join(home, 'wrong.vec');
    writeFileSync(path, copy);
    const { status, out, err } = run(driver, ['test', join(emulated, 'h2o', 'policy.so'), path]);
    assert.is.not(status, 0);
    assert.match(out + err, says);
  };
  check(
    (copy) => copy.writeFloatLE(copy.readFloatLE(answer) + 0.1, answer),
    /FAIL wrong\.vec .* out\[0\] is .*, expected/,
  );
  check((copy) => copy.write('nope'), /is no test vector/);
  check((copy) => copy.writeInt32LE(bytes.readInt32LE(20) + 4, 20), /wrong\.vec|ends early|live slots/);
  // the last read of all: the positions of the last head begin after its number of live slots
  const [live, lanes, dim] = [20, 2, 64];
  const positions = bytes.length - live * (lanes + 2 * dim) * 4;
  assert.is(bytes.readInt32LE(positions - 4), live);
  check(
    (copy) => copy.writeInt32LE(copy.readInt32LE(positions) - 1, positions),
    /FAIL wrong\.vec .* other slots were kept/,
  );
});

test('attention is held against plain loops: a prompt, then a generated token', () => {
  const policies = ['none', 'streaming', 'keydiff'];
  const paths = policies.map((policy) => join(emulated, policy, 'policy.so'));
  const { status, out, err } = run(driver, ['attention', ...paths, 'tiny']);
  assert.is(status, 0, `${out}${err}`);
  for (const policy of policies)
    assert.match(out, new RegExp(`ok {3}${policy} beside plain loops: bf16.* 1 of 151 tokens`));
  assert.match(out, /ok {3}keydiff beside plain loops: f16/);
});

test('bench goes through every case; under emulation its numbers mean nothing', () => {
  const json = join(home, 'bench.json');
  const { status, out, err } = run(driver, ['bench', emulated, json, 'tiny']);
  assert.is(status, 0, `${out}${err}`);
  const { results, matmulTFLOPs, notMeasured } = JSON.parse(readFileSync(json, 'utf8'));
  assert.equal(notMeasured, []);
  assert.is(matmulTFLOPs, null, 'what was not measured is no number');
  for (const kernel of [
    'attend, decode',
    'accumulate',
    'attend and accumulate',
    'select-compact',
    'attend, prefill',
    'observe, every query',
  ])
    assert.ok(
      results.some((each: { kernel: string }) => each.kernel === kernel),
      kernel,
    );
  for (const { us, n, torchUs } of results) {
    assert.ok(us > 0 && n === 3);
    assert.is(torchUs, null);
  }
  assert.is(out.split('\n').filter((line) => line.startsWith('| ')).length, results.length + 1);
});

test.run();
