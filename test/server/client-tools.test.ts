/** Tools and structured output through the clients of npm, each from its request to the answer to a tool's result. */
import Anthropic from '@anthropic-ai/sdk';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { QWEN } from './templates.ts';
import { serve, withTemplate } from './textual.ts';

const running = await serve({ apiKey: 'sesame' }, withTemplate(QWEN));
const { url } = running;
test.after(() => running.stop());
const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sesame', maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: 'sesame', maxRetries: 0 });
const providers = {
  chat: createOpenAICompatible({ name: 'skv', baseURL: `${url}/v1`, apiKey: 'sesame', includeUsage: true }),
  responses: createOpenAI({ baseURL: `${url}/v1`, apiKey: 'sesame' }),
};

const place = z.object({ city: z.enum(['Paris', 'Rome']), days: z.int().min(1).max(9) });
const thing = z.object({ colour: z.enum(['red', 'blue']), size: z.int().min(1).max(9) });
const parameters = z.toJSONSchema(place, { target: 'draft-7' }) as Record<string, unknown>;
const isPlace = (given: unknown) => assert.ok(place.safeParse(given).success, JSON.stringify(given));

test('ai: tools in several steps, whole and streamed, on chats and on responses', async () => {
  for (const [name, provider] of Object.entries(providers)) {
    const asked: z.infer<typeof place>[] = [];
    const settings = {
      model: provider('tiny'),
      prompt: 'Hi',
      temperature: 0,
      maxOutputTokens: 200,
      maxRetries: 0,
      tools: {
        weather: tool({
          description: 'Of a city.',
          inputSchema: place,
          execute: async (given) => {
            asked.push(given);
            return { sky: 'blue' };
          },
        }),
      },
      toolChoice: { type: 'tool' as const, toolName: 'weather' as const },
      stopWhen: stepCountIs(2),
    };
    const { steps } = await generateText(settings);
    assert.equal(
      steps.map(({ finishReason, toolResults }) => [finishReason, toolResults[0].output]),
      [
        ['tool-calls', { sky: 'blue' }],
        ['tool-calls', { sky: 'blue' }],
      ],
      name,
    );
    // the second step reads the first's call and result
    assert.ok(steps[1].usage.inputTokens! > steps[0].usage.inputTokens! + 40, name);
    const stream = streamText(settings);
    const kinds = new Set<string>();
    for await (const { type } of stream.fullStream) kinds.add(type);
    for (const kind of ['tool-input-start', 'tool-input-delta', 'tool-call', 'tool-result', 'finish'])
      assert.ok(kinds.has(kind), `${name}: ${[...kinds]}`);
    assert.not(kinds.has('error'), name);
    assert.equal(asked.length, 4, name);
    assert.equal(asked.slice(2), asked.slice(0, 2), name);
    asked.forEach(isPlace);
  }
});

test('ai: objects, whole, as a list, and in parts', async () => {
  const model = createOpenAICompatible({
    name: 'skv',
    baseURL: `${url}/v1`,
    apiKey: 'sesame',
    supportsStructuredOutputs: true,
  })('tiny');
  for (const each of [model, providers.responses('tiny')]) {
    const settings = { model: each, prompt: 'Hi', temperature: 0, maxOutputTokens: 300, maxRetries: 0 };
    const { object } = await generateObject({ ...settings, schema: thing });
    assert.ok(thing.safeParse(object).success);
    const stream = streamObject({ ...settings, schema: thing });
    let last: unknown;
    for await (const part of stream.partialObjectStream) last = part;
    assert.equal(last, object);
    const { object: choice } = await generateObject({ ...settings, output: 'enum', enum: ['yes', 'no'] });
    assert.ok(['yes', 'no'].includes(choice));
  }
});

test('openai: responses with a tool, whole, streamed and answered; parsed by a schema', async () => {
  const asked = { model: 'tiny', input: 'Hi', max_output_tokens: 200, temperature: 0 };
  const weather = zodResponsesFunction({ name: 'weather', description: 'Of a city.', parameters: place });
  const must = { ...asked, tools: [weather], tool_choice: 'required' as const, parallel_tool_calls: false };
  const called = await openai.responses.parse(must);
  const [call] = called.output;
  assert.ok(call.type === 'function_call');
  isPlace(call.parsed_arguments);
  const stream = openai.responses.stream(must);
  let written = '';
  stream.on('response.function_call_arguments.delta', ({ delta }) => (written += delta));
  const [again] = (await stream.finalResponse()).output;
  assert.ok(again.type === 'function_call');
  assert.equal([again.arguments, written], [call.arguments, call.arguments]);
  const result = { type: 'function_call_output' as const, call_id: call.call_id, output: '{"sky":"blue"}' };
  const short = { ...asked, max_output_tokens: 12, tools: [weather], logit_bias: { 96: -100, 97: -100 } } as object;
  const remembered = await openai.responses.create({ ...short, input: [result], previous_response_id: called.id });
  const { type, name, arguments: given, call_id } = call;
  const repeated = await openai.responses.create({
    ...short,
    input: [{ role: 'user', content: 'Hi' }, { type, name, arguments: given, call_id }, result],
  });
  assert.is(remembered.output_text.length, 12);
  assert.is(remembered.output_text, repeated.output_text);
  const parsed = await openai.responses.parse({ ...asked, text: { format: zodTextFormat(thing, 'thing') } });
  assert.ok(thing.safeParse(parsed.output_parsed).success);
});

test('openai: runTools goes on until the model has nothing to call', async () => {
  const asked: unknown[] = [];
  const runner = openai.chat.completions.runTools(
    {
      model: 'tiny',
      messages: [{ role: 'user', content: 'Hi' }],
      max_tokens: 200,
      temperature: 0,
      tool_choice: { type: 'function', function: { name: 'weather' } },
      tools: [
        {
          type: 'function',
          function: {
            name: 'weather',
            description: 'Of a city.',
            parameters,
            parse: (text: string) => JSON.parse(text),
            function: (given: unknown) => {
              asked.push(given);
              return 'blue';
            },
          },
        },
      ],
    },
    { maxChatCompletions: 2 },
  );
  await runner.done();
  asked.forEach(isPlace);
  assert.is(runner.messages.filter(({ role }) => role === 'tool').length, asked.length);
  assert.ok(asked.length >= 1);
});

test('Anthropic: a tool, whole, streamed and answered', async () => {
  const asked = {
    model: 'tiny',
    max_tokens: 200,
    temperature: 0,
    messages: [{ role: 'user' as const, content: 'Hi' }],
    tools: [{ name: 'weather', description: 'Of a city.', input_schema: parameters as { type: 'object' } }],
  };
  for (const tool_choice of [
    { type: 'any' as const, disable_parallel_tool_use: true },
    { type: 'tool' as const, name: 'weather' },
  ]) {
    const answer = await anthropic.messages.create({ ...asked, tool_choice });
    const [use] = answer.content;
    assert.ok(use.type === 'tool_use' && use.name === 'weather', JSON.stringify(answer.content));
    isPlace(use.input);
    assert.is(answer.stop_reason, 'tool_use');
    const stream = anthropic.messages.stream({ ...asked, tool_choice });
    let written = '';
    stream.on('inputJson', (part) => (written += part));
    const last = await stream.finalMessage();
    const [again] = last.content;
    assert.ok(again.type === 'tool_use');
    assert.equal([again.input, JSON.parse(written), last.stop_reason], [use.input, use.input, 'tool_use']);
    const after = await anthropic.messages.create({
      ...asked,
      max_tokens: 12,
      messages: [
        ...asked.messages,
        { role: 'assistant', content: answer.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'blue' }] },
      ],
      ...({ logit_bias: { 96: -100, 97: -100 } } as object),
    });
    assert.equal([after.stop_reason, after.usage.output_tokens], ['max_tokens', 12]);
    assert.ok(after.usage.input_tokens + after.usage.cache_read_input_tokens! > answer.usage.input_tokens + 20);
  }
});

test('usage counts what the template writes, tools included, in each protocol', async () => {
  const user = { role: 'user' as const, content: 'Hi' };
  const weather = { name: 'weather', description: 'Of a city.', parameters };
  const tools = [{ type: 'function' as const, function: weather }];
  const response = await running.post('/tokenize', { messages: [user], tools }, { authorization: 'Bearer sesame' });
  const { count } = (await response.json()) as { count: number };
  const short = { model: 'tiny', max_tokens: 1 };
  const chat = await openai.chat.completions.create({ ...short, messages: [user], tools });
  const { usage } = await openai.responses.create({
    model: 'tiny',
    max_output_tokens: 1,
    input: [user],
    tools: [{ type: 'function', ...weather, strict: null }],
  });
  const message = await anthropic.messages.create({
    ...short,
    messages: [user],
    tools: [{ name: 'weather', description: 'Of a city.', input_schema: parameters as { type: 'object' } }],
  });
  const cached = message.usage.cache_read_input_tokens!;
  assert.equal([chat.usage!.prompt_tokens, message.usage.input_tokens + cached], [count, count]);
  assert.ok(count > 200);
  assert.is(usage!.input_tokens, count);
});

test.run();
