/** A real model and tools: Qwen2.5-Coder calls them and reads what they gave, through each of the three protocols. */
import Anthropic from '@anthropic-ai/sdk';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, stepCountIs, tool } from 'ai';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { build, shipped } from '../../codegen/build.ts';
import { Engine } from '../../runtime/engine/engine.ts';
import { loadModel } from '../../runtime/model/load.ts';
import { createServer } from '../../runtime/server/server.ts';

const model = await loadModel('qwen2.5-coder-0.5b');
const policies = await Promise.all(['none', 'h2o'].map((name) => build(shipped(name)!)));
const engine = await Engine.create({ model, policies, kvCacheBytes: 1 << 28, maxModelLen: 2048 });
const server = await createServer(engine);
const url = await server.app.listen({ host: '127.0.0.1', port: 0 });
test.after(async () => {
  await server.close();
  await engine.close();
});
const settings = { apiKey: 'none', maxRetries: 0, timeout: 300_000 };
const openai = new OpenAI({ baseURL: `${url}/v1`, ...settings });
const anthropic = new Anthropic({ baseURL: url, ...settings });

const parameters = {
  type: 'object' as const,
  properties: { city: { type: 'string' }, unit: { type: 'string', enum: ['celsius', 'fahrenheit'] } },
  required: ['city', 'unit'],
};
const weather = { name: 'get_weather', description: 'The weather in a city now.', parameters };
const tools = [{ type: 'function' as const, function: weather }];
const question = { role: 'user' as const, content: 'What is the weather like in Paris, in celsius?' };
const asked = { model: model.name, temperature: 0, max_tokens: 120 };
const report = JSON.stringify({ temperature: 31, sky: 'sunny' });

function isWeather(text: string): void {
  const given = JSON.parse(text) as { city: string; unit: string };
  assert.match(given.city, /Paris/);
  assert.is(given.unit, 'celsius');
}

test('chat: called where it may and where it must, whole and streamed; the result is read', async () => {
  for (const [tool_choice, strict] of [
    ['auto', false],
    ['auto', true],
    ['required', false],
  ] as const) {
    const shown = [{ type: 'function' as const, function: { ...weather, strict } }];
    const body = { ...asked, messages: [question], tools: shown, tool_choice };
    const { message, finish_reason } = (await openai.chat.completions.create(body)).choices[0];
    assert.equal([finish_reason, message.content], ['tool_calls', null]);
    const [call] = message.tool_calls!;
    assert.ok(call.type === 'function' && call.function.name === 'get_weather');
    isWeather(call.function.arguments);
    const streamed = (await openai.chat.completions.stream(body).finalChatCompletion()).choices[0];
    assert.is(streamed.finish_reason, 'tool_calls');
    const [again] = streamed.message.tool_calls!;
    assert.ok(again.type === 'function' && again.function.arguments === call.function.arguments);
    const result = { role: 'tool' as const, tool_call_id: call.id, content: report };
    const said = { ...asked, messages: [question, message, result], tools: shown, tool_choice: 'none' as const };
    const after = await openai.chat.completions.create(said);
    assert.match(after.choices[0].message.content!, /31/);
  }
  const hello = { ...asked, messages: [{ role: 'user' as const, content: 'Hello, who are you?' }], tools };
  const free = (await openai.chat.completions.create(hello)).choices[0];
  assert.equal([free.finish_reason, free.message.tool_calls], ['stop', undefined]);
  assert.match(free.message.content!, /Qwen/);
});

test('chat: a call with a policy that evicts, and several answers at once', async () => {
  const body = { ...asked, messages: [question], tools, tool_choice: 'required' as const, n: 2 };
  const evicting = { ...body, ...{ sparse_kv: { policy: 'h2o', budget: 128, recent: 64 } } };
  for (const { message } of (await openai.chat.completions.create(evicting)).choices)
    for (const call of message.tool_calls!) {
      assert.ok(call.type === 'function' && call.function.name === 'get_weather');
      const given = JSON.parse(call.function.arguments) as Record<string, unknown>;
      assert.ok(typeof given.city === 'string' && ['celsius', 'fahrenheit'].includes(given.unit as string));
    }
});

test('responses: called, and gone on with from memory', async () => {
  const shown = [{ type: 'function' as const, ...weather, strict: false }];
  const body = { model: model.name, temperature: 0, max_output_tokens: 120, tools: shown };
  for (const tool_choice of ['auto', 'required'] as const) {
    const called = await openai.responses.create({ ...body, input: [question], tool_choice });
    const call = called.output.find(({ type }) => type === 'function_call');
    assert.ok(call?.type === 'function_call' && call.name === 'get_weather', JSON.stringify(called.output));
    isWeather(call.arguments);
    const after = await openai.responses.create({
      ...body,
      tool_choice: 'none',
      previous_response_id: called.id,
      input: [{ type: 'function_call_output', call_id: call.call_id, output: report }],
    });
    assert.match(after.output_text, /31/);
  }
});

test('messages: called, streamed, and the result is read', async () => {
  const shown = [{ name: weather.name, description: weather.description, input_schema: parameters }];
  const body = { ...asked, tools: shown };
  for (const tool_choice of [{ type: 'auto' as const }, { type: 'any' as const }]) {
    const answer = await anthropic.messages.stream({ ...body, messages: [question], tool_choice }).finalMessage();
    const use = answer.content.find(({ type }) => type === 'tool_use');
    assert.ok(use?.type === 'tool_use' && use.name === 'get_weather', JSON.stringify(answer.content));
    assert.is(answer.stop_reason, 'tool_use');
    isWeather(JSON.stringify(use.input));
    const after = await anthropic.messages.create({
      ...body,
      tool_choice: { type: 'none' },
      messages: [
        question,
        { role: 'assistant', content: answer.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: report }] },
      ],
    });
    const said = after.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
    assert.match(said, /31/);
  }
});

test('ai: a tool runs, and the model tells what it gave', async () => {
  const provider = createOpenAICompatible({ name: 'skv', baseURL: `${url}/v1` });
  const { steps, text } = await generateText({
    model: provider(model.name),
    prompt: question.content,
    temperature: 0,
    maxOutputTokens: 120,
    maxRetries: 0,
    stopWhen: stepCountIs(5),
    tools: {
      get_weather: tool({
        description: weather.description,
        inputSchema: z.object({ city: z.string(), unit: z.enum(['celsius', 'fahrenheit']) }),
        execute: async () => ({ temperature: 31, sky: 'sunny' }),
      }),
    },
  });
  assert.equal([steps[0].finishReason, steps.at(-1)!.finishReason], ['tool-calls', 'stop']);
  assert.match(text, /31/);
});

test.run();
