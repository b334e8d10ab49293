/**
 * Beyond the trained context: the real model (8,192 positions) with `streaming`, far past its context. It reads a book token
 * by token and keeps making sense of it; and it writes as many tokens of its own without falling into noise or into one
 * word. SKV_BENCH=1 runs both over 20,480 tokens (minutes); without, they are skipped.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mobyDick } from '../../eval/text.ts';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';

const COUNT = Number(process.env.SKV_COUNT ?? 20_480);
const longRun = process.env.SKV_BENCH ? test : test.skip;

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;

longRun(`streaming over ${COUNT} tokens`, async () => {
  const model = await loadModel('smollm2-135m');
  const engine = await Engine.create({ model, policies: [await build(shipped('streaming')!)], maxSeqs: 1 });
  const tokens = model.tokenizer.encode(mobyDick().slice(0, COUNT * 8)).subarray(0, COUNT + 64);
  const generation = engine.submit({ prompt: tokens.subarray(0, 64), forced: tokens.subarray(64), maxTokens: 1 });
  const losses: number[] = [];
  for await (const { logprob } of generation) losses.push(-logprob!);
  const { cacheBytes, error } = await generation.finished;
  assert.is(error, undefined);
  const quarter = Math.floor(losses.length / 4);
  const [first, tail] = [mean(losses.slice(0, quarter)), mean(losses.slice(-quarter))];
  console.log(
    `${losses.length} tokens: ${first.toFixed(3)} nats at first, ${tail.toFixed(3)} at the end, cache ${(cacheBytes / 1048576).toFixed(1)} MiB`,
  );
  // 3.5 to 4 nats are usual for this book and budget; chance is 10.8, and a cache gone wrong soon exceeds 5
  assert.ok(tail < 4.6, `${tail} nats at the end, ${first} at first`);
  assert.ok(cacheBytes < 27 << 20, 'the cache stays at its budget');
  await engine.close();
});

longRun(`streaming generates ${COUNT} tokens`, async () => {
  const model = await loadModel('smollm2-135m');
  const engine = await Engine.create({ model, policies: [await build(shipped('streaming')!)], maxSeqs: 1 });
  const generation = engine.submit({
    prompt: model.tokenizer.encode(mobyDick().slice(0, 400)),
    maxTokens: COUNT,
    sampling: { temperature: 0.9, seed: 7, logprobs: 0 },
  });
  const tokens: number[] = [];
  const losses: number[] = [];
  for await (const { token, logprob } of generation) {
    tokens.push(token);
    losses.push(-logprob!);
  }
  const { reason, cacheBytes, error } = await generation.finished;
  assert.is(reason, 'length', error?.message);
  assert.is(tokens.length, COUNT);
  const quarter = Math.floor(COUNT / 4);
  const [first, tail] = [mean(losses.slice(0, quarter)), mean(losses.slice(-quarter))];
  const words = new Set(tokens.slice(-quarter)).size;
  console.log(
    `${COUNT} generated: ${first.toFixed(3)} nats at first, ${tail.toFixed(3)} at the end, ${words} different tokens in the last ${quarter}, cache ${(cacheBytes / 1048576).toFixed(1)} MiB`,
  );
  // what it is sure or unsure of, in nats a token of its own: noise is above 5, one word again and again near 0
  assert.ok(tail > 0.2 && tail < 5, `${tail} nats at the end, ${first} at first`);
  assert.ok(words > 200, `${words} different tokens in the last ${quarter}`);
  assert.ok(cacheBytes < 27 << 20, 'the cache stays at its budget');
  await engine.close();
});

test.run();
