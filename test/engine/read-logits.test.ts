/** Raw logits reach whoever asked for them, however many tokens a step has: those of 32 can be read of one. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import type { Generation } from '../../runtime/engine/types.ts';
import { tinyModel } from '../oracle/tiny.ts';
import { outcome, randomTokens, smallEngine } from './small.ts';

const model = tinyModel(31);
process.on('exit', () => model.remove());
const { vocab } = model.shape;
const policies = [await build(shipped('none')!)];

/** What a generation says of its tokens, and what the logits that came with them say. */
async function compare(generation: Generation, rows: readonly Float32Array[]): Promise<number> {
  let count = 0;
  for await (const { token, logprob } of generation) {
    const row = rows[count++];
    const top = Math.max(...row);
    const norm = top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
    assert.ok(Math.abs(row[token] - norm - logprob!) < 1e-4, `token ${count}: ${row[token] - norm}, ${logprob}`);
  }
  const { error } = await generation.finished;
  if (error) throw error;
  assert.is(rows.length, count);
  return count;
}

test('more tokens than a step can be read of, among requests that read nothing', async () => {
  const engine = await smallEngine(model, { policies, maxSeqs: 64, maxBatchedTokens: 512 });
  const others = Array.from({ length: 50 }, (_, i) =>
    outcome(engine, { prompt: randomTokens(i, 5, vocab), maxTokens: 20 }),
  );
  const reading = [100, 70, 3].map((length, i) => {
    const rows: Float32Array[] = [];
    const onLogits = (logits: Float32Array) => rows.push(logits);
    const forced = randomTokens(100 + i, length, vocab);
    return compare(engine.submit({ prompt: randomTokens(200 + i, 9, vocab), forced, maxTokens: 1, onLogits }), rows);
  });
  const drawing = Array.from({ length: 40 }, (_, i) => {
    const rows: Float32Array[] = [];
    const onLogits = (logits: Float32Array) => rows.push(logits);
    const request = { prompt: randomTokens(300 + i, 7, vocab), maxTokens: 4, sampling: { logprobs: 0 }, onLogits };
    return compare(engine.submit(request), rows);
  });
  assert.equal(await Promise.all(reading), [100, 70, 3]);
  assert.equal(await Promise.all(drawing), Array(40).fill(4));
  for (const { finished } of await Promise.all(others)) assert.is(finished.reason, 'length');
  // left open: a process must end well without close()
});

test.run();
