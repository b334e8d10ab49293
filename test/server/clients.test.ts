/** The clients people use, unchanged: openai, the ai package, curl; on the real engine with a tiny random model. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, streamText } from 'ai';
import OpenAI, { APIError } from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { serve, until } from './textual.ts';

const running = await serve({ apiKey: 'sesame' });
const { engine, url } = running;
test.after(() => running.stop());
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sesame', maxRetries: 0 });
const messages = [{ role: 'user' as const, content: 'Tell me.' }];
const asked = { model: 'tiny', messages, max_tokens: 12, temperature: 0, logit_bias: { 96: -100, 97: -100 } };

test('openai: plain, and the model list', async () => {
  const { data } = await client.models.list();
  assert.equal(
    data.map(({ id }) => id),
    ['tiny'],
  );
  const answer = await client.chat.completions.create(asked);
  assert.is(answer.choices[0].message.content!.length, 12);
  assert.is(answer.choices[0].finish_reason, 'length');
  assert.is(answer.usage!.completion_tokens, 12);
  const completion = await client.completions.create({
    model: 'tiny',
    prompt: ['Hi', 'Ho'],
    max_tokens: 3,
    temperature: 0,
    logit_bias: { 96: -100, 97: -100 },
  });
  assert.equal(
    completion.choices.map(({ text }) => text.length),
    [3, 3],
  );
});

test('openai: streaming with usage is the same text', async () => {
  const whole = await client.chat.completions.create(asked);
  const stream = await client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = '';
  let usage: OpenAI.CompletionUsage | null | undefined;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.is(text, whole.choices[0].message.content);
  assert.equal(usage, { ...whole.usage, prompt_tokens_details: usage!.prompt_tokens_details });
  const final = await client.chat.completions.stream(asked).finalChatCompletion();
  assert.is(final.choices[0].message.content, text);
});

test('openai: logprobs, n, stop, seed', async () => {
  const logged = await client.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 3 });
  const { content } = logged.choices[0].logprobs!;
  assert.is(content!.map(({ token }) => token).join(''), logged.choices[0].message.content);
  assert.is(content![0].top_logprobs.length, 3);
  const several = await client.chat.completions.create({ ...asked, n: 3, temperature: 1.5, seed: 1 });
  assert.equal(
    several.choices.map(({ index }) => index),
    [0, 1, 2],
  );
  assert.is(new Set(several.choices.map(({ message }) => message.content)).size, 3);
  const text = logged.choices[0].message.content!;
  const stopped = await client.chat.completions.create({ ...asked, stop: text.slice(6, 8) });
  assert.is(stopped.choices[0].message.content, text.slice(0, text.indexOf(text.slice(6, 8))));
  assert.is(stopped.choices[0].finish_reason, 'stop');
});

test('openai: a policy in the body', async () => {
  const body = { ...asked, sparse_kv: { policy: 'h2o', budget: 300 } };
  assert.is((await client.chat.completions.create(body)).choices.length, 1);
  try {
    await client.chat.completions.create({ ...asked, ...{ sparse_kv: { policy: 'h2o', budget: -1 } } });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, APIError);
    assert.equal([(error as APIError).status, (error as APIError).param], [400, 'sparse_kv.budget']);
  }
});

test('openai: abort ends the generation', async () => {
  const inner = engine.onStep;
  engine.onStep = (step) => {
    inner?.(step);
    for (const end = performance.now() + 2; performance.now() < end; );
  };
  const stream = await client.chat.completions.create({ ...asked, max_tokens: 900, stream: true });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 5) stream.controller.abort();
  await until(
    'nothing runs',
    () => engine.stats().running === 0 && engine.stats().pagesUsed === engine.stats().pagesCached,
  );
  engine.onStep = inner;
});

test('openai: errors have their classes', async () => {
  const wrong = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'wrong', maxRetries: 0 });
  for (const [call, kind] of [
    [() => wrong.models.list(), OpenAI.AuthenticationError],
    [() => client.chat.completions.create({ ...asked, model: 'gpt-4' }), OpenAI.NotFoundError],
    [() => client.chat.completions.create({ ...asked, temperature: 7 }), OpenAI.BadRequestError],
  ] as const) {
    const error = await call().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.instance(error, kind);
  }
});

test('ai: generateText and streamText', async () => {
  const provider = createOpenAICompatible({ name: 'skv', baseURL: `${url}/v1`, apiKey: 'sesame', includeUsage: true });
  const model = provider.chatModel('tiny');
  const whole = await generateText({ model, prompt: 'Tell me.', maxOutputTokens: 10, temperature: 0 });
  assert.ok(whole.text.length > 0 && whole.text.length <= 10);
  assert.ok(whole.usage.outputTokens! > 0);
  const stream = streamText({ model, prompt: 'Tell me.', maxOutputTokens: 10, temperature: 0 });
  let text = '';
  for await (const part of stream.textStream) text += part;
  assert.is(text, whole.text);
  assert.is((await stream.usage).outputTokens, whole.usage.outputTokens);
});

test('curl: whole and streamed', async () => {
  const curl = async (body: object): Promise<string> => {
    const flags = [
      '-sSN',
      '--noproxy',
      '*',
      `${url}/v1/completions`,
      '-H',
      'Content-Type: application/json',
      '-H',
      'Authorization: Bearer sesame',
      '-d',
      JSON.stringify(body),
    ];
    return (await promisify(execFile)('curl', flags)).stdout;
  };
  const body = { prompt: 'Hi', max_tokens: 5, temperature: 0, ignore_eos: true };
  const { choices } = JSON.parse(await curl(body));
  assert.is(choices[0].finish_reason, 'length');
  const lines = (await curl({ ...body, stream: true })).split('\n').filter(Boolean);
  assert.is(lines.pop(), 'data: [DONE]');
  assert.is(lines.map((line) => JSON.parse(line.slice('data: '.length)).choices[0].text).join(''), choices[0].text);
});

test.run();
