/** /v1/responses as openai's and Vercel's clients use it, on the real engine with a tiny random model. */
import { createOpenAI } from '@ai-sdk/openai';
import { generateObject, generateText, streamText } from 'ai';
import OpenAI, { APIError } from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { chatBody, messagesOf, ownName } from '../../runtime/server/responses/input.ts';
import { ResponseStore } from '../../runtime/server/responses/store.ts';
import { ResponseWriter } from '../../runtime/server/responses/writer.ts';
import { serve, until } from './textual.ts';

const running = await serve({ apiKey: 'sesame' });
const { engine, url } = running;
test.after(() => running.stop());
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sesame', maxRetries: 0 });
/** skv's own fields beside OpenAI's */
const more = { logit_bias: { 96: -100, 97: -100 } } as object;
const asked = { model: 'tiny', input: 'Tell me.', max_output_tokens: 12, temperature: 0, ...more };

const chatText = async (messages: OpenAI.ChatCompletionMessageParam[]) =>
  (await client.chat.completions.create({ model: 'tiny', messages, max_tokens: 12, temperature: 0, ...more }))
    .choices[0].message.content;

test('a response is the chat’s answer in other words', async () => {
  const answer = await client.responses.create({ ...asked, instructions: 'Be brief.' });
  const text = await chatText([
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Tell me.' },
  ]);
  assert.is(answer.output_text, text);
  assert.equal([answer.status, answer.incomplete_details], ['incomplete', { reason: 'max_output_tokens' }]);
  assert.equal([answer.usage!.output_tokens, answer.model, answer.instructions], [12, 'tiny', 'Be brief.']);
  const [item] = answer.output;
  assert.ok(item.type === 'message' && item.role === 'assistant' && item.status === 'incomplete');
  const parts = await client.responses.create({
    ...asked,
    input: [
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'Tell ' },
          { type: 'input_text', text: 'me.' },
        ],
      },
    ],
  });
  assert.is(parts.output_text, await chatText([{ role: 'user', content: 'Tell me.' }]));
});

test('streamed, with the events that the client puts together again', async () => {
  const whole = await client.responses.create(asked);
  const types: string[] = [];
  let sequence = 0;
  const stream = client.responses.stream(asked);
  for await (const event of stream) {
    if (types.at(-1) !== event.type) types.push(event.type);
    assert.is(event.sequence_number, sequence++);
  }
  assert.equal(types, [
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.incomplete',
  ]);
  const last = await stream.finalResponse();
  assert.is(last.output_text, whole.output_text);
  assert.equal(last.usage!.total_tokens, whole.usage!.total_tokens);
});

test('log-probabilities, where they are included', async () => {
  const answer = await client.responses.create({
    ...asked,
    include: ['message.output_text.logprobs'],
    top_logprobs: 2,
  });
  const [item] = answer.output;
  assert.ok(item.type === 'message' && item.content[0].type === 'output_text');
  const { logprobs, text } = item.content[0] as { logprobs: { token: string; top_logprobs: object[] }[]; text: string };
  assert.is(logprobs.map(({ token }) => token).join(''), text);
  assert.ok(logprobs.every(({ top_logprobs }) => top_logprobs.length >= 2));
});

test('previous_response_id goes on; what is not kept is refused', async () => {
  const first = await client.responses.create(asked);
  const second = await client.responses.create({ ...asked, input: 'And then?', previous_response_id: first.id });
  const text = await chatText([
    { role: 'user', content: 'Tell me.' },
    { role: 'assistant', content: first.output_text },
    { role: 'user', content: 'And then?' },
  ]);
  assert.is(second.output_text, text);
  const referred = await client.responses.create({
    ...asked,
    input: [
      { role: 'user', content: 'Tell me.' },
      { type: 'item_reference', id: first.output[0].id! },
      { role: 'user', content: 'And then?' },
    ],
  });
  assert.is(referred.output_text, text);
  assert.is((await client.responses.retrieve(first.id)).output_text, first.output_text);
  await client.responses.delete(first.id);
  const gone = await client.responses.create({ ...asked, previous_response_id: first.id }).catch((error) => error);
  assert.ok(gone instanceof APIError);
  assert.equal([gone.status, gone.param, gone.code], [400, 'previous_response_id', 'previous_response_not_found']);
  const passing = await client.responses.create({ ...asked, store: false });
  assert.is((await client.responses.retrieve(passing.id).catch((error) => error)).status, 404);
});

test('structured output, of both clients', async () => {
  const schema = { type: 'object', properties: { n: { enum: [1, 2] } }, required: ['n'], additionalProperties: false };
  const format = { type: 'json_schema' as const, name: 'answer', schema, strict: true };
  const answer = await client.responses.create({ ...asked, max_output_tokens: 200, text: { format } });
  assert.ok([1, 2].includes(JSON.parse(answer.output_text).n), answer.output_text);
  const stream = client.responses.stream({ ...asked, max_output_tokens: 200, text: { format } });
  assert.is((await stream.finalResponse()).output_text, answer.output_text);
  const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'sesame' });
  const { object } = await generateObject({
    model: openai('tiny'),
    schema: z.object({ colour: z.enum(['red', 'blue']) }),
    prompt: 'Which?',
    temperature: 0,
    maxRetries: 0,
  });
  assert.ok(['red', 'blue'].includes(object.colour));
});

test('the store keeps the newest, up to a number and a size', () => {
  const entry = (id: string, text = '') => ({
    response: { id },
    input: [],
    items: [{ type: 'message', id: `m${id}`, text }],
  });
  const few = new ResponseStore(2, 1e6);
  for (const id of ['a', 'b', 'c']) few.set(entry(id));
  assert.equal(
    [few.get('a'), few.get('c')?.response.id, few.item('ma'), few.item('mb')?.id],
    [undefined, 'c', undefined, 'mb'],
  );
  const small = new ResponseStore(100, 1000);
  for (const id of ['a', 'b', 'c']) small.set(entry(id, 'x'.repeat(400)));
  assert.equal([small.get('a'), small.get('b')?.response.id], [undefined, 'b']);
  small.set(entry('huge', 'x'.repeat(2000)));
  assert.is(small.get('huge'), undefined);
  small.set(entry('d'));
  assert.is(small.get('d')?.response.id, 'd');
});

test('refusals name the client’s own fields', async () => {
  const cases: [object, string][] = [
    [{ input: undefined }, 'input'],
    [{ input: [] }, 'input'],
    [{ input: [{ role: 'wizard', content: 'Hi' }] }, 'input'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'x' }] }] }, 'input[0].content'],
    [{ input: [{ type: 'web_search_call', id: 'x' }] }, 'input[0].type'],
    [{ input: [{ type: 'item_reference', id: 'nowhere' }] }, 'input[0].id'],
    [{ max_output_tokens: 0 }, 'max_output_tokens'],
    [{ temperature: 3 }, 'temperature'],
    [{ background: true }, 'background'],
    [{ truncation: 'auto' }, 'truncation'],
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [{ text: { verbosity: 'low' } }, 'verbosity'],
    [{ input: 'x'.repeat(2000) }, 'input'],
    [{ sparse_kv: { policy: 'nothere' } }, 'sparse_kv.policy'],
  ];
  for (const [wrong, param] of cases)
    for (const stream of [false, true]) {
      const response = await running.post(
        '/v1/responses',
        { ...asked, ...wrong, stream },
        { authorization: 'Bearer sesame' },
      );
      const { error } = (await response.json()) as { error: { param: string } };
      assert.equal([response.status, error.param], [400, param], JSON.stringify(wrong).slice(0, 80));
    }
  await until('nothing runs', () => engine.stats().running + engine.stats().waiting === 0);
  assert.is(ownName('messages[3].role'), 'input');
});

test('ai: openai(model), whole, streamed, and with what was said before', async () => {
  const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'sesame' });
  const model = openai('tiny');
  const settings = { model, temperature: 0, maxOutputTokens: 4, maxRetries: 0 };
  const { text, finishReason, usage } = await generateText({ ...settings, prompt: 'Tell me.' });
  assert.equal([finishReason, usage.outputTokens], ['length', 4]);
  const { textStream } = streamText({ ...settings, prompt: 'Tell me.' });
  let streamed = '';
  for await (const part of textStream) streamed += part;
  assert.is(streamed, text);
  const first = await generateText({ ...settings, prompt: 'Tell me.' });
  const next = await generateText({
    ...settings,
    messages: [
      { role: 'user', content: 'Tell me.' },
      ...first.response.messages,
      { role: 'user', content: 'And then?' },
    ],
  });
  assert.ok(next.usage.outputTokens! > 0);
});

test('calls and what they gave become a chat’s messages, and back', () => {
  const call = { type: 'function_call', id: 'fc_1', call_id: 'c1', name: 'f', arguments: '{"a":1}' };
  const messages = messagesOf([
    { role: 'user', content: 'Go.' },
    { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'Hm.' }] },
    call,
    { ...call, id: 'fc_2', call_id: 'c2' },
    { type: 'function_call_output', call_id: 'c1', output: 'one' },
    { type: 'function_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
    { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Done.' }] },
  ]);
  const asChat = (id: string) => ({ id, type: 'function', function: { name: 'f', arguments: '{"a":1}' } });
  assert.equal(messages, [
    { role: 'user', content: 'Go.' },
    { role: 'assistant', content: '', reasoning_content: 'Hm.', tool_calls: [asChat('c1'), asChat('c2')] },
    { role: 'tool', tool_call_id: 'c1', content: 'one' },
    { role: 'tool', tool_call_id: 'c2', content: 'two' },
    { role: 'assistant', content: 'Done.' },
  ]);
  const body = chatBody(
    {
      tools: [{ type: 'function', name: 'f', parameters: {}, strict: true }],
      tool_choice: { type: 'function', name: 'f' },
      text: { format: { type: 'json_schema', name: 'answer', schema: { type: 'object' }, strict: true } },
      reasoning: { effort: 'low' },
      sparse_kv: { policy: 'h2o' },
    },
    messages.slice(0, 1),
  );
  assert.equal(body, {
    sparse_kv: { policy: 'h2o' },
    messages: messages.slice(0, 1),
    tools: [{ type: 'function', function: { name: 'f', parameters: {}, strict: true } }],
    tool_choice: { type: 'function', function: { name: 'f' } },
    response_format: { type: 'json_schema', json_schema: { name: 'answer', schema: { type: 'object' }, strict: true } },
    reasoning_effort: 'low',
  });
  const writer = new ResponseWriter();
  const events = [
    writer.take({ reasoning_content: 'Hm' }),
    writer.take({ reasoning_content: '.' }),
    writer.take({ content: 'So' }),
    writer.take({ tool_calls: [{ index: 0, id: 'c1', function: { name: 'f', arguments: '' } }] }),
    writer.take({ tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] }),
    writer.take({ tool_calls: [{ index: 0, function: { arguments: ':1}' } }] }),
    writer.take({ tool_calls: [{ index: 1, id: 'c2', function: { name: 'g', arguments: '{}' } }] }),
    writer.close(),
  ].flat();
  assert.equal(
    writer.output.map(({ id, content, summary, ...rest }) => rest),
    [
      { type: 'reasoning', status: 'completed' },
      { type: 'message', status: 'completed', role: 'assistant' },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{"a":1}', status: 'completed' },
      { type: 'function_call', call_id: 'c2', name: 'g', arguments: '{}', status: 'completed' },
    ],
  );
  const count = (type: string) => events.filter((event) => event.type === type).length;
  assert.equal([count('response.output_item.added'), count('response.output_item.done')], [4, 4]);
  assert.equal([count('response.function_call_arguments.delta'), count('response.reasoning_text.done')], [3, 1]);
});

test.run();
