/** On the real model: /health while a long prompt is in prefill, the tokenizer's worker, and an answer that makes sense. */
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { createServer } from '../../runtime/server/server.ts';

const model = await loadModel(process.env.SKV_TEST_MODEL ?? 'smollm2-135m');
const policies = await Promise.all(['none', 'h2o'].map((name) => build(shipped(name)!)));
const engine = await Engine.create({ model, policies, kvCacheBytes: 1 << 30 });
const server = await createServer(engine);
const url = await server.app.listen({ host: '127.0.0.1', port: 0 });
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 300_000 });
test.after(async () => {
  await server.close();
  await engine.close();
});

const paragraph =
  'The lighthouse keeper wrote down the weather, the ships and the birds of the day, and then he slept. ';

test('the client gets a sensible answer, with eviction too', async () => {
  const messages = [{ role: 'user' as const, content: 'What is the capital city of Japan?' }];
  for (const sparse_kv of [undefined, { policy: 'h2o', budget: 256, recent: 128 }]) {
    const answer = await client.chat.completions.create({
      model: model.name,
      messages,
      temperature: 0,
      max_tokens: 20,
      ...{ sparse_kv },
    });
    assert.match(answer.choices[0].message.content!, /Tokyo/);
  }
});

test('the worker’s tokens are the tokenizer’s', async () => {
  const prompt = `${paragraph}<|im_end|> ünïcödé 🙂 `.repeat(200);
  const response = await fetch(`${url}/tokenize`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt }),
  });
  const { tokens } = (await response.json()) as { tokens: number[] };
  assert.equal(tokens, [...model.tokenizer.encode(prompt, { addBos: true, special: true })]);
});

test('/health answers while a step of a long prompt runs', async () => {
  const text = paragraph.repeat(400);
  const tokens = model.tokenizer.encode(text).length;
  const prompt = text.slice(0, Math.floor((text.length * 6000) / tokens));
  const answer = client.completions.create({ model: model.name, prompt, max_tokens: 1, temperature: 0 });
  let done = false;
  answer.finally(() => (done = true)).catch(() => {});
  const answeredWithin = new Set<number>(); // steps: asked and answered between the end of the last and its own
  while (!done) {
    const { steps, running } = engine.stats();
    const response = await fetch(`${url}/health`);
    await response.text();
    assert.is(response.status, 200);
    if (running > 0 && engine.stats().steps === steps) answeredWithin.add(steps);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const { usage } = await answer;
  assert.ok(usage!.prompt_tokens > 5900 && usage!.prompt_tokens < 6100, `${usage!.prompt_tokens} tokens`);
  assert.is(usage!.prompt_tokens_details!.cached_tokens, 0);
  // who waits for native code hears nothing before a step ends
  assert.ok(answeredWithin.size >= 3, `answered within ${answeredWithin.size} steps`);
});

test.run();
