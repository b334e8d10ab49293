/** Tools: shown to the model, called as its template writes calls, constrained where a call must come; thoughts apart. */
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject } from 'ai';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { LLAMA, MISTRAL, PLAIN, QWEN, THINK } from './templates.ts';
import { serve, withTemplate } from './textual.ts';

const running = await serve({}, withTemplate(QWEN));
const thinking = await serve({}, withTemplate(THINK));
const plain = await serve({}, withTemplate(PLAIN));
const unknown = await serve({}, withTemplate(`${PLAIN}{{- tools }}`));
test.after(async () => {
  for (const server of [running, thinking, plain, unknown]) await server.stop();
});
const CHAT = '/v1/chat/completions';

const weather = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'Of a city.',
    parameters: {
      type: 'object',
      properties: { city: { enum: ['Paris', 'Rome'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
      required: ['city', 'days'],
    },
  },
};
const now = { type: 'function', function: { name: 'now' } };
const tools = [weather, now];
const messages = [{ role: 'user', content: 'Hi' }];

interface Message {
  content: string | null;
  reasoning_content?: string;
  tool_calls?: { id: string; type: string; function: { name: string; arguments: string } }[];
}
interface Answer {
  choices: { message: Message; finish_reason: string }[];
  usage: { prompt_tokens: number };
  error?: { message: string; param: string };
}
const ask = async (more: object, server = running): Promise<{ status: number; body: Answer }> => {
  const response = await server.post(CHAT, {
    messages,
    max_tokens: 400,
    seed: 5,
    logit_bias: { 2: 5, 93: 5 },
    ...more,
  });
  return { status: response.status, body: (await response.json()) as Answer };
};

/** Calls of every choice; each has arguments that the tool's schema accepts. */
function callsOf({ status, body }: Awaited<ReturnType<typeof ask>>): NonNullable<Message['tool_calls']>[] {
  assert.is(status, 200, JSON.stringify(body));
  return body.choices.map(({ message, finish_reason }) => {
    assert.is(finish_reason, 'tool_calls', JSON.stringify(message));
    for (const { id, type, function: called } of message.tool_calls!) {
      assert.match(id, /^call_\w{24}$/);
      assert.is(type, 'function');
      const given = JSON.parse(called.arguments) as Record<string, unknown>;
      if (called.name === 'now') continue;
      assert.is(called.name, 'weather');
      assert.ok(['Paris', 'Rome'].includes(given.city as string) && Number(given.days) >= 1 && Number(given.days) <= 9);
    }
    return message.tool_calls!;
  });
}

test('required and a named function: calls with valid arguments, under n and a policy that evicts', async () => {
  const named = { type: 'function', function: { name: 'weather' } };
  for (const calls of callsOf(await ask({ tools, tool_choice: named, n: 4, temperature: 1.5 })))
    assert.equal(
      calls.map((call) => call.function.name),
      ['weather'],
    );
  const one = { tools, tool_choice: 'required', parallel_tool_calls: false };
  for (const calls of callsOf(await ask({ ...one, n: 4, temperature: 1.5 }))) assert.is(calls.length, 1);
  const policy = { sparse_kv: { policy: 'streaming', budget: 48 } };
  // clients that read an answer's form send both
  callsOf(await ask({ ...one, response_format: { type: 'json_object' } }));
  callsOf(await ask({ ...one, ...policy, messages: [{ role: 'user', content: 'x'.repeat(200) }], temperature: 1.2 }));
});

test('calls and structure side by side through preemption, with n and a policy that evicts', async () => {
  const { pageBytes } = running.engine.stats();
  const kvCacheBytes = pageBytes * 4 * 60; // two of these prompts fit, and not what follows them
  const pool = { kvCacheBytes, maxModelLen: 900, prefixCache: false };
  const small = await serve({}, { ...withTemplate(QWEN), ...pool });
  const call = { tools, tool_choice: 'required', parallel_tool_calls: false, temperature: 1.2, n: 2 };
  const policy = { sparse_kv: { policy: 'streaming', budget: 48 } };
  const schema = { type: 'object', properties: { a: { enum: [1, 2] } }, required: ['a'], additionalProperties: false };
  const format = { response_format: { type: 'json_schema', json_schema: { name: 's', schema } } };
  const long = { messages: [{ role: 'user', content: 'x'.repeat(500) }] };
  const [calls, evicting, objects] = await Promise.all([
    ask(call, small),
    ask({ ...call, ...policy }, small),
    ask({ ...long, ...format, temperature: 1.2, n: 2 }, small),
  ]);
  for (const answer of [calls, evicting]) assert.is(callsOf(answer).length, 2);
  for (const { message } of objects.body.choices) assert.ok([1, 2].includes(JSON.parse(message.content!).a));
  assert.ok(small.engine.stats().preemptions > 0, 'somebody was preempted');
  await small.stop();
});

test('a stream of calls: the id and name first, then arguments that come to the same', async () => {
  const body = { tools, tool_choice: 'required', parallel_tool_calls: false, temperature: 0 };
  const [[whole]] = callsOf(await ask(body));
  const response = await running.post(CHAT, {
    messages,
    max_tokens: 400,
    seed: 5,
    logit_bias: { 2: 5, 93: 5 },
    ...body,
    stream: true,
  });
  const chunks = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)).choices[0]);
  const deltas = chunks.flatMap(({ delta }) => delta.tool_calls ?? []);
  assert.is(deltas[0].function.name, whole.function.name);
  assert.is(deltas.filter(({ id }: { id?: string }) => id).length, 1);
  assert.is(
    deltas.map((each: { function: { arguments?: string } }) => each.function.arguments ?? '').join(''),
    whole.function.arguments,
  );
  assert.is(chunks.map(({ delta }) => delta.content ?? '').join(''), '');
  assert.is(chunks.at(-1).finish_reason, 'tool_calls');
});

test('auto: text is text; strict tools hold their schema; structure beside tools', async () => {
  const free = await ask({ tools, max_tokens: 20, logit_bias: {} });
  assert.equal([free.status, free.body.choices[0].message.tool_calls], [200, undefined]);
  const strict = [{ ...weather, function: { ...weather.function, strict: true } }];
  // what the free text may become is a call alone: < is the one character that comes
  const { body } = await ask({
    tools: strict,
    temperature: 1,
    n: 4,
    logit_bias: { 28: 100, 2: 5, 93: 5, 97: -100 },
    max_tokens: 300,
  });
  for (const { message } of body.choices)
    for (const call of message.tool_calls ?? []) assert.is(call.function.name, 'weather');
  // one that begins like a call without its marks is a call, and holds the schema too: { is what comes
  const bare = { logit_bias: { 91: 100, 2: 5, 93: 5 }, parallel_tool_calls: false };
  callsOf(await ask({ tools: strict, temperature: 1, n: 4, ...bare }));
  const schema = { type: 'object', properties: { a: { const: 1 } }, required: ['a'] };
  const format = { response_format: { type: 'json_schema', json_schema: { name: 's', schema } } };
  const { body: both } = await ask({ tools, ...format, n: 4, temperature: 1.5, parallel_tool_calls: false });
  for (const { message } of both.choices)
    if (message.tool_calls) JSON.parse(message.tool_calls[0].function.arguments);
    else assert.equal(JSON.parse(message.content!), { a: 1 });
});

test('other formats, and the flag that names one', async () => {
  for (const [template, flag] of [
    [MISTRAL, undefined],
    [LLAMA, undefined],
    [`${PLAIN}{{- tools }}`, 'hermes'],
  ] as const) {
    const server = await serve({ toolFormat: flag }, withTemplate(template));
    const [[call]] = callsOf(await ask({ tools, tool_choice: 'required', parallel_tool_calls: false }, server));
    assert.ok(['weather', 'now'].includes(call.function.name));
    await server.stop();
  }
});

test('calls of the history are rendered with their arguments as objects, answers of tools as messages', async () => {
  const history = [
    { role: 'user', content: 'W?' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city": "Rome"}' } }],
    },
    { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
  ];
  const tokens = await running.post('/tokenize', { messages: history });
  const { prompt } = (await (
    await running.post('/detokenize', { tokens: ((await tokens.json()) as { tokens: number[] }).tokens })
  ).json()) as { prompt: string };
  assert.match(
    prompt,
    /<tool_call>\n\{"name": "weather", "arguments": \{"city": "Rome"\}\}\n<\/tool_call><\|im_end\|>\n<\|im_start\|>tool\nsunny/,
  );
});

test('thoughts stand apart, and structure begins after them', async () => {
  const on = { chat_template_kwargs: { begin: true } };
  const thought = await ask(
    { ...on, max_tokens: 10, logit_bias: { 95: -100, 96: -100, 97: -100 }, temperature: 1 },
    thinking,
  );
  assert.is(thought.body.choices[0].message.content, '');
  assert.ok(thought.body.choices[0].message.reasoning_content!.length > 0);
  const choice = { structured_outputs: { choice: ['yes', 'no'] } };
  const off = await ask({ ...choice, reasoning_effort: 'none' }, thinking);
  assert.match(off.body.choices[0].message.content!, /^(yes|no)$/);
  // no thought but spaces: then the tag's letters come by the grammar, and what was asked for after them
  const tag = Object.fromEntries([...'</think>'].map((letter) => [letter.charCodeAt(0) - 32, 100]));
  const { body } = await ask({ ...on, guided_regex: 'ok', temperature: 1, logit_bias: tag, max_tokens: 400 }, thinking);
  for (const { message, finish_reason } of body.choices)
    if (finish_reason === 'stop') assert.is(message.content, 'ok');
    else assert.is(message.content, '');
});

test('openai: parse by a schema, tools as a stream; ai: generateObject', async () => {
  const client = new OpenAI({ baseURL: `${running.url}/v1`, apiKey: 'none', maxRetries: 0 });
  const wanted = z.object({ colour: z.enum(['red', 'blue']), size: z.int().min(1).max(9) });
  const asked = { model: 'tiny', messages: [{ role: 'user' as const, content: 'Hi' }], max_tokens: 200, seed: 1 };
  const parsed = await client.chat.completions.parse({ ...asked, response_format: zodResponseFormat(wanted, 'thing') });
  assert.ok(wanted.safeParse(parsed.choices[0].message.parsed).success);
  const stream = client.chat.completions.stream({
    ...asked,
    tools: tools as OpenAI.ChatCompletionTool[],
    tool_choice: { type: 'function', function: { name: 'weather' } },
  });
  const [call] = (await stream.finalChatCompletion()).choices[0].message.tool_calls!;
  assert.ok(call.type === 'function' && ['Paris', 'Rome'].includes(JSON.parse(call.function.arguments).city));
  const provider = createOpenAICompatible({
    name: 'skv',
    baseURL: `${running.url}/v1`,
    supportsStructuredOutputs: true,
  });
  const { object } = await generateObject({ model: provider.chatModel('tiny'), schema: wanted, prompt: 'Hi' });
  assert.ok(wanted.safeParse(object).success);
});

test('tokens are counted with the tools that a chat shows', async () => {
  const count = async (path: string, body: object): Promise<Record<string, number>> =>
    (await (await running.post(path, body)).json()) as Record<string, number>;
  const { usage } = (await ask({ tools, max_tokens: 1 })).body;
  assert.is((await count('/tokenize', { messages, tools })).count, usage.prompt_tokens);
  const input = [
    { ...weather.function, parameters: undefined, input_schema: weather.function.parameters },
    now.function,
  ];
  const counted = await count('/v1/messages/count_tokens', { messages, tools: input });
  assert.is(counted.input_tokens, usage.prompt_tokens);
  assert.ok((await count('/tokenize', { messages })).count < usage.prompt_tokens);
  const wrong = await running.post('/v1/messages/count_tokens', { messages, tools: [{ name: 'a b' }] });
  assert.is(wrong.status, 400);
  assert.match(await wrong.text(), /tools\[0\]\.name: must be 1 to 128 letters/);
});

test('what is wrong is named', async () => {
  const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{' } };
  const cases: [object, string, RegExp, typeof running?][] = [
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type', /must be function/],
    [{ tools: [{ type: 'function', function: { name: 'a b' } }] }, 'tools[0].function.name', /letters/],
    [{ tools: [now, now] }, 'tools[1].function.name', /Two tools/],
    [{ tools, tool_choice: 'must' }, 'tool_choice', /none, auto, required/],
    [
      { tools, tool_choice: { type: 'function', function: { name: 'x' } } },
      'tool_choice',
      /the tools are weather, now/,
    ],
    [{ tool_choice: 'required' }, 'tool_choice', /tools lists none/],
    [{ tools, tool_choice: 'required', guided_choice: ['a'] }, 'guided_choice', /send one/],
    [{ tools, guided_grammar: 'root ::= "a"' }, 'guided_grammar', /beside tools/],
    [
      { tools: [{ type: 'function', function: { name: 'f', strict: true, parameters: { not: {} } } }] },
      'tools[0].function.parameters',
      /\.not: is not supported/,
    ],
    [{ functions: [{ name: 'f' }] }, 'functions', /use tools/],
    [{ messages: [...messages, { role: 'function', name: 'f', content: 'x' }] }, 'messages[1].role', /role tool/],
    [
      { messages: [{ role: 'assistant', content: '', tool_calls: [call] }] },
      'messages[0].tool_calls[0].function.arguments',
      /is no JSON/,
    ],
    [{ tools }, 'tools', /shows no tools .* --chat-template/, plain],
    [
      { messages: [{ role: 'assistant', content: '', tool_calls: [call] }] },
      'messages[0].tool_calls',
      /does not show tool calls/,
      plain,
    ],
    [{ reasoning_effort: 'low' }, 'reasoning_effort', /knows no reasoning_effort/, plain],
    [{ tools }, 'tools', /--tool-call-parser and one of mistral-args/, unknown],
  ];
  assert.is((await ask({ reasoning_effort: 'none', max_tokens: 1 }, plain)).status, 200);
  for (const [more, param, words, server] of cases) {
    const { status, body } = await ask(more, server);
    assert.equal([status, body.error?.param], [400, param], `${JSON.stringify(more)}: ${JSON.stringify(body)}`);
    assert.match(body.error!.message, words);
  }
});

test.run();
