/** What an engine costs while it has nothing to do, and when another engine has the same processors. */
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import type { Engine } from '../../runtime/engine/engine.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallEngine } from './small.ts';

const tiny = tinyModel(4);
const { vocab } = tiny.loaded.spec;
const options = { policies: [await build(shipped('none')!)], kvCacheBytes: 8 << 20, check: false };

/** Steps a second over `seconds` of one sequence after the other. */
async function rate(engine: Engine, seconds: number): Promise<number> {
  const start = performance.now();
  const { steps } = engine.stats();
  for (let seed = 1; performance.now() - start < seconds * 1000; seed++)
    await outcome(engine, { prompt: randomTokens(seed, 64, vocab), maxTokens: 64 });
  return (engine.stats().steps - steps) / ((performance.now() - start) / 1000);
}

test('an idle second costs no processor', async () => {
  const engine = await smallEngine(tiny, options);
  await outcome(engine, { prompt: randomTokens(1, 64, vocab), maxTokens: 32 });
  await sleep(200);
  const before = process.cpuUsage();
  await sleep(1000);
  const { user, system } = process.cpuUsage(before);
  console.log(`one idle second of a live engine: ${((user + system) / 1000).toFixed(1)} ms of processor`);
  assert.ok(user + system < 50_000);
  await engine.close();
});

test('two engines on the same processors both progress, at a fair rate', async () => {
  const [first, second] = [await smallEngine(tiny, options), await smallEngine(tiny, options)];
  const alone = await rate(first, 1);
  const shared = await Promise.all([rate(first, 1), rate(second, 1)]);
  console.log(`steps a second: ${alone.toFixed(0)} alone, ${shared.map((each) => each.toFixed(0))} side by side`);
  assert.ok(Math.min(...shared) > 0.1 * alone, 'both progress');
  assert.ok(Math.min(...shared) > 0.3 * Math.max(...shared), 'at a fair rate');
  await Promise.all([first.close(), second.close()]);
});

test.run();
