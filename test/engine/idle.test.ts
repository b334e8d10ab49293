/** What an engine does while it has nothing to do, and when another engine has the same processors. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { root } from '../../toolchain/folders.mjs';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallEngine } from './small.ts';

const tiny = tinyModel(4);
const { vocab } = tiny.loaded.spec;
const options = { policies: [await build(shipped('none')!)], kvCacheBytes: 8 << 20, check: false };
const request = (seed: number) => ({ prompt: randomTokens(seed, 64, vocab), maxTokens: 64 });

test('an idle second costs no processor', async () => {
  const engine = await smallEngine(tiny, options);
  await outcome(engine, request(1));
  await sleep(200);
  const before = process.cpuUsage();
  await sleep(1000);
  const { user, system } = process.cpuUsage(before);
  // processor time, to which other processes add nothing; one thread that spins takes hundreds of ms
  assert.ok(user + system < 50_000, `${(user + system) / 1000} ms`);
  await engine.close();
});

test('two engines on the same processors both get through, with the tokens of one alone', async () => {
  const engines = [await smallEngine(tiny, options), await smallEngine(tiny, options)];
  const seeds = [1, 2, 3, 4, 5, 6];
  const alone = [];
  for (const seed of seeds) alone.push((await outcome(engines[0], request(seed))).tokens);
  const together = await Promise.all(
    engines.map(async (engine) => {
      const tokens = [];
      for (const seed of seeds) tokens.push((await outcome(engine, request(seed))).tokens);
      return tokens;
    }),
  );
  for (const tokens of together) assert.equal(tokens, alone);
  await Promise.all(engines.map((engine) => engine.close()));
});

for (const when of ['idle', 'busy', 'opening'])
  test(`a process that ends with engines open and closes none ends in peace: ${when}`, () => {
    const script = join(root, 'test', 'engine', 'ending.ts');
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script, when], {
      encoding: 'utf8',
    });
    assert.equal({ status, signal, stdout }, { status: 0, signal: null, stdout: 'at its end\n' }, stderr);
  });

test.run();
