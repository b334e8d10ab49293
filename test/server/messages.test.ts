/** /v1/messages as Anthropic's client uses it, on the real engine with a tiny random model. */
import Anthropic, { APIError } from '@anthropic-ai/sdk';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chatBody } from '../../runtime/server/messages/input.ts';
import type { MessagesRequest } from '../../runtime/server/messages/schema.ts';
import { MessageWriter, endOf } from '../../runtime/server/messages/writer.ts';
import { serve } from './textual.ts';

const running = await serve({ apiKey: 'sesame' });
test.after(() => running.stop());
const client = new Anthropic({ baseURL: running.url, apiKey: 'sesame', maxRetries: 0 });
/** skv's own fields beside Anthropic's */
const more = { logit_bias: { 96: -100, 97: -100 } } as object;
const asked = {
  model: 'tiny',
  max_tokens: 12,
  temperature: 0,
  system: 'Be brief.',
  messages: [{ role: 'user' as const, content: 'Tell me.' }],
  ...more,
};

/** The chat's answer to the same. */
async function chatText(messages: object[]): Promise<string> {
  const body = { messages, max_tokens: 12, temperature: 0, ...more };
  const response = await running.post('/v1/chat/completions', body, { authorization: 'Bearer sesame' });
  return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0].message.content;
}
const system = { role: 'system', content: 'Be brief.' };
const user = { role: 'user', content: 'Tell me.' };

test('a message is the chat’s answer in other words', async () => {
  const answer = await client.messages.create(asked);
  const [block] = answer.content;
  assert.ok(block.type === 'text');
  assert.is(block.text, await chatText([system, user]));
  assert.equal([answer.stop_reason, answer.stop_sequence, answer.role], ['max_tokens', null, 'assistant']);
  assert.is(answer.usage.output_tokens, 12);
  const { input_tokens } = await client.messages.countTokens({
    model: 'tiny',
    system: asked.system,
    messages: asked.messages,
  });
  assert.is(answer.usage.input_tokens + answer.usage.cache_read_input_tokens!, input_tokens);
  const parts = await client.messages.create({
    ...asked,
    system: [{ type: 'text', text: 'Be brief.' }],
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Tell ' },
          { type: 'text', text: 'me.' },
        ],
      },
    ],
  });
  assert.equal(parts.content, answer.content);
});

test('streamed', async () => {
  const whole = await client.messages.create(asked);
  const types: string[] = [];
  const stream = client.messages.stream(asked);
  stream.on('streamEvent', ({ type }) => {
    if (types.at(-1) !== type) types.push(type);
  });
  const last = await stream.finalMessage();
  assert.equal(last.content, whole.content);
  assert.equal([last.stop_reason, last.usage.output_tokens], ['max_tokens', 12]);
  assert.equal(types, [
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ]);
});

test('a stop sequence, and words put into its mouth', async () => {
  const [{ text }] = (await client.messages.create(asked)).content as { text: string }[];
  const stop = text.slice(4, 6);
  const cut = await client.messages.create({ ...asked, stop_sequences: [stop] });
  assert.equal([cut.stop_reason, cut.stop_sequence], ['stop_sequence', stop]);
  assert.is((cut.content[0] as { text?: string })?.text ?? '', text.slice(0, text.indexOf(stop)));
  const begun = await client.messages.create({
    ...asked,
    messages: [...asked.messages, { role: 'assistant', content: 'It was' }],
  });
  const prompt =
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nTell me.<|im_end|>\n<|im_start|>assistant\nIt was';
  const body = { prompt, max_tokens: 12, temperature: 0, ...more };
  const response = await running.post('/v1/completions', body, { authorization: 'Bearer sesame' });
  const { choices } = (await response.json()) as { choices: { text: string }[] };
  assert.is((begun.content[0] as { text: string }).text, choices[0].text);
});

test('JSON of a schema, by output_config', async () => {
  const schema = { type: 'object', properties: { n: { enum: [1, 2] } }, required: ['n'], additionalProperties: false };
  const answer = await client.messages.create({
    ...asked,
    max_tokens: 200,
    output_config: { format: { type: 'json_schema', schema } },
  });
  const [{ text }] = answer.content as { text: string }[];
  assert.ok([1, 2].includes(JSON.parse(text).n), text);
});

test('errors in Anthropic’s form', async () => {
  const cases: [object, number, string, RegExp][] = [
    [{ max_tokens: undefined }, 400, 'invalid_request_error', /max_tokens/],
    [{ messages: [] }, 400, 'invalid_request_error', /messages/],
    [{ model: 'claude' }, 404, 'not_found_error', /claude/],
    [{ messages: [{ role: 'user', content: [{ type: 'image', source: {} }] }] }, 400, 'invalid_request_error', /image/],
    [{ tools: [{ type: 'bash_20250124', name: 'bash' }] }, 400, 'invalid_request_error', /bash_20250124/],
    [{ mcp_servers: [{}] }, 400, 'invalid_request_error', /mcp_servers/],
  ];
  for (const [wrong, status, type, words] of cases) {
    const error = await client.messages.create({ ...asked, ...wrong } as never).catch((thrown) => thrown);
    assert.ok(error instanceof APIError);
    const body = error.error as { type: string; error: { type: string; message: string } };
    assert.equal([error.status, body.type, body.error.type], [status, 'error', type]);
    assert.match(body.error.message, words);
  }
});

test('tools and thoughts become a chat’s, and back', () => {
  const body = chatBody({
    max_tokens: 5,
    messages: [
      { role: 'user', content: 'Go.' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Hm.', signature: '' },
          { type: 'text', text: 'Well.' },
          { type: 'tool_use', id: 't1', name: 'f', input: { a: 1 } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: 'broken' }], is_error: true },
          { type: 'text', text: 'Go on.' },
        ],
      },
    ],
    tools: [{ name: 'f', description: 'd', input_schema: { type: 'object' } }],
    tool_choice: { type: 'any', disable_parallel_tool_use: true },
    thinking: { type: 'disabled' },
    output_config: { effort: 'low' },
  } as MessagesRequest);
  const call = { id: 't1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } };
  assert.equal(body, {
    messages: [
      { role: 'user', content: 'Go.' },
      { role: 'assistant', content: 'Well.', reasoning_content: 'Hm.', tool_calls: [call] },
      { role: 'tool', tool_call_id: 't1', content: 'Error: broken' },
      { role: 'user', content: 'Go on.' },
    ],
    tools: [
      {
        type: 'function',
        function: { name: 'f', description: 'd', parameters: { type: 'object' } },
      },
    ],
    tool_choice: 'required',
    chat_template_kwargs: { enable_thinking: false },
    max_tokens: 5,
    parallel_tool_calls: false,
    reasoning_effort: 'low',
  });
  const writer = new MessageWriter();
  const events = [
    writer.take({ reasoning_content: 'Hm' }),
    writer.take({ content: 'So' }),
    writer.take({ tool_calls: [{ index: 0, id: 'c1', function: { name: 'f', arguments: '{"a"' } }] }),
    writer.take({ tool_calls: [{ index: 0, function: { arguments: ':1}' } }] }),
    writer.take({ tool_calls: [{ index: 1, id: 'c2', function: { name: 'g', arguments: '' } }] }),
    writer.close(),
  ].flat();
  assert.equal(writer.content, [
    { type: 'thinking', thinking: 'Hm', signature: '' },
    { type: 'text', text: 'So' },
    { type: 'tool_use', id: 'c1', name: 'f', input: { a: 1 } },
    { type: 'tool_use', id: 'c2', name: 'g', input: {} },
  ]);
  const indices = (type: string) => events.filter((event) => event.type === type).map(({ index }) => index);
  assert.equal(indices('content_block_start'), [0, 1, 2, 3]);
  assert.equal(indices('content_block_stop'), [0, 1, 2, 3]);
  assert.is(endOf('tool_calls', null).stop_reason, 'tool_use');
});

test.run();
