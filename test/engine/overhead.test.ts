/** What a step allocates outside native code, by batch and by context, and what does not wait for it. `skv bench engine` has the time between steps. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import type { NativeEngine } from '../../runtime/native/index.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallEngine } from './small.ts';

const tiny = tinyModel(4);
const { vocab } = tiny.loaded.spec;
const LONG = 3600;
const STEPS = 300;
const policies = await Promise.all(['none', 'h2o'].map((name) => build(shipped(name)!)));

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

/** Median over decode steps: bytes of heap taken by a whole step. */
async function bytesOfStep(policy: string, batch: number, context: number): Promise<number> {
  const maxModelLen = LONG + STEPS;
  const engine = await smallEngine(tiny, { policies, maxSeqs: 32, maxModelLen, check: false, prefixCache: false });
  const open = engine as unknown as { nativeEngine: NativeEngine };
  const real = open.nativeEngine;
  const bytes: number[] = [];
  let heap = 0;
  // the real step, with a scale before and after it
  open.nativeEngine = new Proxy(real, {
    get(target, name) {
      if (name !== 'step') return Reflect.get(target, name);
      return async (counts: Parameters<NativeEngine['step']>[0]) => {
        const used = process.memoryUsage().heapUsed;
        if (heap && counts.rows === batch && counts.tokens === batch && used > heap) bytes.push(used - heap); // else the collector came by
        heap = process.memoryUsage().heapUsed;
        await target.step(counts);
      };
    },
  });
  await Promise.all(
    Array.from({ length: batch }, (_, i) =>
      outcome(engine, { prompt: randomTokens(i, context, vocab), maxTokens: STEPS, policy }),
    ),
  );
  open.nativeEngine = real;
  await engine.close();
  assert.ok(bytes.length > STEPS / 4);
  return median(bytes);
}

for (const policy of ['none', 'h2o'])
  test(`${policy}: no more memory for a longer context, at most linear in the batch`, async () => {
    await bytesOfStep(policy, 8, 64); // the compiler's turn
    const short = await bytesOfStep(policy, 8, 64);
    const long = await bytesOfStep(policy, 8, LONG);
    const large = await bytesOfStep(policy, 32, 64);
    assert.ok(long < short + 4096, `memory does not follow the context: ${long} bytes, ${short} at 64 tokens`);
    assert.ok(large < 4 * short + 8192, `memory is linear in the batch: ${large} bytes, ${short} at a quarter`);
  });

test('what is done with tokens is done while the next step runs', async () => {
  const engine = await smallEngine(tiny, { policies, prefixCache: false, check: false });
  const open = engine as unknown as { nativeEngine: NativeEngine };
  const real = open.nativeEngine;
  const [BATCH, TOKENS] = [8, 20];
  let handled = 0;
  const behind: number[] = [];
  open.nativeEngine = new Proxy(real, {
    get(target, name) {
      if (name !== 'step') return Reflect.get(target, name);
      return (counts: Parameters<NativeEngine['step']>[0]) => {
        if (counts.tokens === BATCH) behind.push(engine.stats().generatedTokens - handled);
        return target.step(counts);
      };
    },
  });
  await Promise.all(
    Array.from({ length: BATCH }, async (_, i) => {
      const prompt = randomTokens(i, 12, vocab);
      for await (const _token of engine.submit({ prompt, maxTokens: TOKENS, policy: 'h2o' })) handled++;
    }),
  );
  open.nativeEngine = real;
  await engine.close();
  assert.equal(behind, Array(TOKENS - 1).fill(BATCH));
});

test.run();
