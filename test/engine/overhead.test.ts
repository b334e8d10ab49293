/** What a step costs outside native code: time and memory, by batch and by context. */
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

/** Medians over decode steps: microseconds between two native steps, and bytes of heap taken by a whole step. */
async function overhead(policy: string, batch: number, context: number): Promise<{ us: number; bytes: number }> {
  const maxModelLen = LONG + STEPS;
  const engine = await smallEngine(tiny, { policies, maxSeqs: 32, maxModelLen, check: false, prefixCache: false });
  const open = engine as unknown as { nativeEngine: NativeEngine };
  const real = open.nativeEngine;
  const times: number[] = [];
  const bytes: number[] = [];
  let [ended, heap] = [0, 0];
  // the real step, with a clock and a scale before and after it
  open.nativeEngine = new Proxy(real, {
    get(target, name) {
      if (name !== 'step') return Reflect.get(target, name);
      return async (counts: Parameters<NativeEngine['step']>[0]) => {
        const now = performance.now();
        const used = process.memoryUsage().heapUsed;
        if (ended && counts.rows === batch && counts.tokens === batch) {
          times.push((now - ended) * 1000);
          if (used > heap) bytes.push(used - heap); // else the collector came by
        }
        heap = process.memoryUsage().heapUsed;
        await target.step(counts);
        ended = performance.now();
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
  assert.ok(times.length > STEPS / 2);
  return { us: median(times), bytes: median(bytes) };
}

for (const policy of ['none', 'h2o'])
  test(`${policy}: no more time and memory for a longer context, at most linear in the batch`, async () => {
    await overhead(policy, 8, 64); // the compiler's turn
    const short = await overhead(policy, 8, 64);
    const long = await overhead(policy, 8, LONG);
    const large = await overhead(policy, 32, 64);
    const show = ({ us, bytes }: typeof short) => `${us.toFixed(0)} µs, ${(bytes / 1024).toFixed(1)} KiB`;
    console.log(
      `${policy}: a step outside native code: batch 8 at 64 tokens ${show(short)}; at ${LONG} ${show(long)}; batch 32 ${show(large)}`,
    );
    assert.ok(long.bytes < short.bytes + 4096, 'memory does not follow the context: over 3,500 more tokens');
    assert.ok(large.bytes < 4 * short.bytes + 8192, 'memory is linear in the batch');
    // times are noisy beside other processes: the goal is 100 µs at batch 8
    assert.ok(long.us < 4 * short.us + 200, 'time does not follow the context');
    assert.ok(large.us < 16 * short.us + 200, 'time is about linear in the batch');
    assert.ok(short.us < 2000);
  });

test.run();
