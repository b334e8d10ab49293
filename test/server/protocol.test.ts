/** The endpoints' answers, whole and streamed, on the real engine with a tiny random model. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { events, serve } from './textual.ts';

const running = await serve();
const { post, url, engine } = running;
test.after(() => running.stop());

// biome-ignore lint/suspicious/noExplicitAny: answers of a server are read freely
type Json = any;
const json = async (path: string, body: unknown): Promise<Json> => {
  const response = await post(path, body);
  const answer = await response.json();
  assert.is(response.status, 200, JSON.stringify(answer));
  return answer;
};
const greedy = { prompt: 'Once upon a time', max_tokens: 24, temperature: 0, ignore_eos: true };
const messages = [{ role: 'user', content: 'Tell me.' }];

test('a completion', async () => {
  const answer = await json('/v1/completions', greedy);
  assert.match(answer.id, /^cmpl-/);
  assert.is(answer.object, 'text_completion');
  assert.is(answer.model, 'tiny');
  const [choice] = answer.choices;
  assert.is(choice.finish_reason, 'length');
  assert.is(choice.logprobs, null);
  assert.equal(answer.usage, {
    prompt_tokens: 16,
    completion_tokens: 24,
    total_tokens: 40,
    prompt_tokens_details: answer.usage.prompt_tokens_details,
  });
});

test('the same text streamed, with usage at the end', async () => {
  const whole = await json('/v1/completions', greedy);
  const response = await post('/v1/completions', { ...greedy, stream: true, stream_options: { include_usage: true } });
  assert.match(response.headers.get('content-type')!, /^text\/event-stream/);
  const list = await events(response);
  assert.is(list.pop(), '[DONE]');
  const chunks: Json[] = list.map((event) => JSON.parse(event));
  const last = chunks.pop();
  assert.equal(last.choices, []);
  assert.is(last.usage.completion_tokens, 24);
  assert.ok(chunks.every((chunk) => chunk.usage === null && chunk.id === chunks[0].id));
  assert.is(chunks.map((chunk) => chunk.choices[0].text).join(''), whole.choices[0].text);
  assert.is(chunks.at(-1).choices[0].finish_reason, 'length');
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.choices[0].finish_reason === null));
});

test('a prompt may be text, tokens, or lists of them', async () => {
  const tokens = [...engine.model.tokenizer.encode(greedy.prompt)];
  const texts = (answer: Json) => answer.choices.map((choice: Json) => choice.text);
  const [one] = texts(await json('/v1/completions', greedy));
  assert.equal(texts(await json('/v1/completions', { ...greedy, prompt: tokens })), [one]);
  assert.equal(texts(await json('/v1/completions', { ...greedy, prompt: [tokens, tokens] })), [one, one]);
  const two = await json('/v1/completions', { ...greedy, prompt: [greedy.prompt, 'Other'], n: 2 });
  assert.equal(
    two.choices.map((choice: Json) => choice.index),
    [0, 1, 2, 3],
  );
  assert.equal(texts(two).slice(0, 2), [one, one]);
  assert.is.not(texts(two)[2], one);
  assert.is(two.usage.prompt_tokens, 21, 'each prompt counts once');
  assert.is(two.usage.completion_tokens, 96);
});

test('n choices differ, and a seed repeats them', async () => {
  const asked = { prompt: 'Roll', max_tokens: 12, n: 3, seed: 5, temperature: 1.5, ignore_eos: true };
  const texts = async (more = {}) =>
    (await json('/v1/completions', { ...asked, ...more })).choices.map((choice: Json) => choice.text);
  const first = await texts();
  assert.is(new Set(first).size, 3);
  assert.equal(await texts(), first);
  assert.not.equal(await texts({ seed: 6 }), first);
});

test('a stop string ends the text, and is part of it only when asked for', async () => {
  const [{ text }] = (await json('/v1/completions', greedy)).choices;
  const at = 9;
  const stop = text.slice(at, at + 3);
  const first = text.indexOf(stop);
  const cut = await json('/v1/completions', { ...greedy, stop: [stop, 'never this'] });
  assert.is(cut.choices[0].text, text.slice(0, first));
  assert.is(cut.choices[0].finish_reason, 'stop');
  assert.is(cut.choices[0].stop_reason, stop);
  assert.is(cut.usage.completion_tokens, first + 3);
  const kept = await json('/v1/completions', { ...greedy, stop, include_stop_str_in_output: true });
  assert.is(kept.choices[0].text, text.slice(0, first + 3));
  const streamed = (await events(await post('/v1/completions', { ...greedy, stop, stream: true })))
    .slice(0, -1)
    .map((event) => JSON.parse(event).choices[0]);
  assert.is(streamed.map((choice) => choice.text).join(''), text.slice(0, first));
  assert.is(streamed.at(-1).stop_reason, stop);
});

test('stop_token_ids, min_tokens', async () => {
  const [{ text }] = (await json('/v1/completions', greedy)).choices;
  const token = engine.model.tokenizer.encode(text)[5];
  const first = text.indexOf(text[5]);
  const cut = (await json('/v1/completions', { ...greedy, stop_token_ids: [token] })).choices[0];
  assert.equal([cut.text, cut.finish_reason, cut.stop_reason], [text.slice(0, first), 'stop', token]);
  const longer = await json('/v1/completions', { ...greedy, stop_token_ids: [token], min_tokens: first + 2 });
  assert.ok(longer.usage.completion_tokens > first + 1, 'not before min_tokens');
  const late = await json('/v1/completions', { ...greedy, stop: text.slice(0, 1), min_tokens: 20 });
  assert.ok(late.usage.completion_tokens > 20);
});

test('log-probabilities of a completion, and of its prompt with echo', async () => {
  const answer = await json('/v1/completions', { ...greedy, logprobs: 3 });
  const { tokens, token_logprobs, top_logprobs, text_offset } = answer.choices[0].logprobs;
  assert.is(tokens.join(''), answer.choices[0].text);
  assert.equal(
    text_offset,
    tokens.map((_: string, i: number) => i),
  );
  assert.ok(token_logprobs.every((value: number) => value <= 0));
  for (const [i, top] of top_logprobs.entries()) {
    assert.is(Object.keys(top).length, 3);
    assert.is(Math.max(...(Object.values(top) as number[])), token_logprobs[i], 'greedy takes the likeliest');
  }
  const echo = await json('/v1/completions', { ...greedy, logprobs: 3, echo: true });
  assert.is(echo.choices[0].text, greedy.prompt + answer.choices[0].text);
  const all = echo.choices[0].logprobs;
  assert.is(all.tokens.join(''), echo.choices[0].text);
  assert.is(all.token_logprobs[0], null);
  assert.ok(all.token_logprobs.slice(1).every((value: number) => value <= 0));
  assert.equal(all.token_logprobs.slice(16), token_logprobs);
  // The prompt's scores are those of generating it: score the whole answer as a prompt.
  const rescored = (
    await json('/v1/completions', { ...greedy, prompt: echo.choices[0].text, max_tokens: 1, logprobs: 0, echo: true })
  ).choices[0].logprobs;
  assert.equal(rescored.token_logprobs.slice(0, 40), all.token_logprobs);
});

test('echo in a stream comes first', async () => {
  const list = (await events(await post('/v1/completions', { ...greedy, echo: true, stream: true })))
    .slice(0, -1)
    .map((event) => JSON.parse(event).choices[0]);
  assert.is(list[0].text, greedy.prompt);
});

test('a chat', async () => {
  const answer = await json('/v1/chat/completions', {
    messages,
    max_completion_tokens: 8,
    temperature: 0,
    logprobs: true,
    top_logprobs: 2,
    ignore_eos: true,
  });
  assert.is(answer.object, 'chat.completion');
  const [{ message, logprobs }] = answer.choices;
  assert.is(message.role, 'assistant');
  assert.is(logprobs.content.length, 8);
  assert.is(logprobs.content[0].top_logprobs.length, 2);
  assert.is(logprobs.content[0].top_logprobs[0].logprob, logprobs.content[0].logprob);
  assert.equal(Buffer.from(logprobs.content.flatMap((entry: Json) => entry.bytes)).toString(), message.content);
  const parts = await json('/v1/chat/completions', {
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Tell ' },
          { type: 'text', text: 'me.' },
        ],
      },
    ],
    max_tokens: 8,
    temperature: 0,
    ignore_eos: true,
  });
  assert.is(parts.choices[0].message.content, message.content);
});

test('a chat streamed: the role first, n choices side by side', async () => {
  const list = await events(
    await post('/v1/chat/completions', {
      messages,
      max_tokens: 6,
      n: 2,
      temperature: 0,
      stream: true,
      ignore_eos: true,
    }),
  );
  const chunks: Json[] = list.slice(0, -1).map((event) => JSON.parse(event));
  assert.equal(
    chunks.slice(0, 2).map((chunk) => chunk.choices[0].delta),
    [0, 1].map(() => ({ role: 'assistant', content: '' })),
  );
  const text = (index: number) =>
    chunks
      .filter((chunk) => chunk.choices[0].index === index)
      .map((chunk) => chunk.choices[0].delta.content ?? '')
      .join('');
  assert.is(text(0).length, 6);
  assert.is(text(0), text(1));
  assert.is(chunks.filter((chunk) => chunk.choices[0].finish_reason === 'length').length, 2);
});

test('without max_tokens a chat takes what the context leaves', async () => {
  const answer = await json('/v1/chat/completions', { messages, temperature: 0, ignore_eos: true });
  assert.is(answer.usage.total_tokens, engine.maxModelLen);
});

test('policies per request, in both spellings, change the answer and are counted', async () => {
  const long = { prompt: 'a long enough prompt '.repeat(10), max_tokens: 40, temperature: 0, ignore_eos: true };
  const text = async (more: object) => (await json('/v1/completions', { ...long, ...more })).choices[0].text;
  const full = await text({});
  const thin = await text({ sparse_kv: { policy: 'h2o', budget: 24, recent: 8 } });
  assert.is.not(thin, full);
  assert.is(await text({ vllm_xargs: { sparse_kv_policy: 'h2o', sparse_kv_budget: 24, sparse_kv_recent: 8 } }), thin);
  const part = await text({ sparse_kv: { policy: 'h2o', ratio: 0.1 } });
  assert.is.not(part, full);
  assert.is(await text({ vllm_xargs: { sparse_kv_policy: 'h2o', sparse_kv_ratio: 0.1 } }), part);
  const h2o = engine.stats().policies.find(({ name }) => name === 'h2o')!;
  assert.is(h2o.requests, 4);
  assert.ok(h2o.slotsEvicted > 0);
});

test('cached prompt tokens are reported', async () => {
  const asked = { prompt: 'The same beginning, twice. '.repeat(4), max_tokens: 2, temperature: 0 };
  await json('/v1/completions', asked);
  const { usage } = await json('/v1/completions', asked);
  assert.is(usage.prompt_tokens_details.cached_tokens, 96, 'full pages before the last token');
});

test('logit_bias and penalties reach the sampler', async () => {
  const token = engine.model.tokenizer.encode('Q')[0];
  assert.is(
    (await json('/v1/completions', { ...greedy, logit_bias: { [token]: 100 } })).choices[0].text,
    'Q'.repeat(24),
  );
  const { choices } = await json('/v1/completions', {
    ...greedy,
    logit_bias: { [token]: 30 },
    frequency_penalty: 2,
    repetition_penalty: 5,
  });
  assert.is.not(choices[0].text, 'Q'.repeat(24));
});

test('tokenize and detokenize are inverse; messages are tokenized as the chat sees them', async () => {
  const { tokens, count, token_strs, max_model_len } = await json('/tokenize', {
    prompt: 'Hi<|im_end|>',
    return_token_strs: true,
  });
  assert.equal([count, max_model_len], [3, engine.maxModelLen]);
  assert.equal(token_strs, ['H', 'i', '<|im_end|>']);
  assert.is((await json('/detokenize', { tokens })).prompt, 'Hi<|im_end|>');
  const chat = await json('/tokenize', { messages });
  assert.is(
    (await json('/detokenize', { tokens: chat.tokens })).prompt,
    '<|im_start|>user\nTell me.<|im_end|>\n<|im_start|>assistant\n',
  );
});

test('long prompts are tokenized whatever the worker can load', async () => {
  const { count } = await json('/tokenize', { prompt: 'x'.repeat(20_000) });
  assert.is(count, 20_000);
});

test('models, version, health, openapi', async () => {
  const get = async (path: string): Promise<Json> => (await fetch(url + path)).json();
  const { data } = await get('/v1/models');
  assert.equal([data[0].id, data[0].max_model_len], ['tiny', 1024]);
  assert.is(data[0].sparse_kv.length, 4);
  assert.is((await get('/v1/models/tiny')).id, 'tiny');
  assert.equal(await get('/health'), { status: 'ok' });
  assert.type((await get('/version')).version, 'string');
  const { openapi, paths } = await get('/openapi.json');
  assert.match(openapi, /^3\./);
  const { schema } = paths['/v1/chat/completions'].post.requestBody.content['application/json'];
  assert.ok(schema.properties.messages && schema.properties.sparse_kv);
  assert.is(
    paths['/v1/completions'].post.requestBody.content['application/json'].schema.properties.prompt.anyOf.length,
    4,
  );
});

test('metrics have vLLM’s names and move', async () => {
  const read = async (): Promise<Map<string, number>> => {
    const lines = (await (await fetch(`${url}/metrics`)).text())
      .split('\n')
      .filter((line) => line && !line.startsWith('#'));
    return new Map(
      lines.map((line) => [
        line
          .replace(/,?model_name="[^"]*"/, '')
          .replace('{}', '')
          .replace(/ [^ ]+$/, ''),
        Number(line.split(' ').at(-1)),
      ]),
    );
  };
  const before = await read();
  await json('/v1/completions', {
    prompt: 'moving '.repeat(20),
    max_tokens: 10,
    temperature: 0,
    ignore_eos: true,
    sparse_kv: { policy: 'tova', budget: 20 },
  });
  const after = await read();
  for (const name of [
    'vllm:num_requests_running',
    'vllm:num_requests_waiting',
    'vllm:kv_cache_usage_perc',
    'vllm:num_preemptions_total',
    'vllm:prefix_cache_hits_total',
  ])
    assert.ok(after.has(name), name);
  const grown = (name: string) => after.get(name)! - (before.get(name) ?? 0);
  assert.is(grown('vllm:prompt_tokens_total'), 140);
  assert.is(grown('vllm:generation_tokens_total'), 10);
  assert.is(grown('vllm:request_success_total{finished_reason="length"}'), 1);
  for (const name of ['time_to_first_token_seconds', 'e2e_request_latency_seconds'])
    assert.is(grown(`vllm:${name}_count`), 1, name);
  assert.is(grown('vllm:inter_token_latency_seconds_count'), 9);
  assert.ok(grown('vllm:prefix_cache_queries_total') >= 0);
  assert.ok(grown('skv:compactions_total{policy="tova"}') > 0);
  assert.ok(grown('skv:slots_evicted_total{policy="tova"}') > 0);
  const kept = after.get('skv:kept_ratio{policy="tova"}')!;
  assert.ok(kept > 0 && kept < 1);
  const [{ text }] = (await json('/v1/completions', greedy)).choices;
  const stopped = 'vllm:request_success_total{finished_reason="stop"}';
  const stops = (await read()).get(stopped) ?? 0;
  await json('/v1/completions', { ...greedy, stop: text.slice(9, 12) });
  assert.is((await read()).get(stopped), stops + 1, 'a stop string is a stop too');
});

test.run();
