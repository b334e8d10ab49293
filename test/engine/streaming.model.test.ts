/**
 * Beyond the trained context: the real model (8,192 positions) reads a real book with `streaming`, token by token, far past
 * its context, and keeps making sense. SKV_BENCH=1 runs it over 20,480 tokens (minutes); without, it is skipped.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mobyDick } from '../../bench/text.ts';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';

const COUNT = Number(process.env.SKV_COUNT ?? 20_480);
const longRun = process.env.SKV_BENCH ? test : test.skip;

longRun(`streaming over ${COUNT} tokens`, async () => {
  const model = await loadModel('smollm2-135m');
  const engine = await Engine.create({ model, policies: [await build(shipped('streaming')!)], maxSeqs: 1 });
  const tokens = model.tokenizer.encode(mobyDick().slice(0, COUNT * 8)).subarray(0, COUNT + 64);
  const generation = engine.submit({ prompt: tokens.subarray(0, 64), forced: tokens.subarray(64), maxTokens: 1 });
  const losses: number[] = [];
  for await (const { logprob } of generation) losses.push(-logprob!);
  const { cacheBytes, error } = await generation.finished;
  assert.is(error, undefined);
  const mean = (from: number, to: number) => losses.slice(from, to).reduce((sum, x) => sum + x, 0) / (to - from);
  const quarter = Math.floor(losses.length / 4);
  const [first, tail] = [mean(0, quarter), mean(losses.length - quarter, losses.length)];
  console.log(
    `${losses.length} tokens: ${first.toFixed(3)} nats at first, ${tail.toFixed(3)} at the end, cache ${(cacheBytes / 1048576).toFixed(1)} MiB`,
  );
  // 3.5 to 4 nats are usual for this book and budget; chance is 10.8, and a cache gone wrong soon exceeds 5
  assert.ok(tail < 4.6, `${tail} nats at the end, ${first} at first`);
  assert.ok(cacheBytes < 27 << 20, 'the cache stays at its budget');
  await engine.close();
});

test.run();
