/** --load-format dummy: each shape has the tensors that the forward pass wants, and one of them runs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { dummyModel } from '../../runtime/model/dummy.ts';

test('the small shape runs, and its tokens are not all one', async () => {
  const model = dummyModel('smollm2-135m');
  const parameters = model.spec.tensors.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
  assert.is(parameters, 134515008); // the real one's
  assert.equal(model.spec.files, []);
  const policies = [await build(shipped('none')!)];
  const engine = await Engine.create({ model, policies, maxSeqs: 1, maxModelLen: 64, threads: 1, pin: false });
  const tokens = [];
  const prompt = model.tokenizer.encode('Once upon');
  for await (const { token, logprob } of engine.submit({
    prompt,
    maxTokens: 8,
    sampling: { temperature: 1, logprobs: 0 },
  })) {
    tokens.push(token);
    assert.ok(Number.isFinite(logprob));
  }
  await engine.close();
  assert.ok(new Set(tokens).size > 1, String(tokens));
  assert.type(model.tokenizer.decode(tokens), 'string');
});

test('a shape that nobody knows', () =>
  assert.throws(() => dummyModel('gpt-5'), /no shape gpt-5: llama-3-8b, qwen3-8b, smollm2-135m are possible/));

test.run();
