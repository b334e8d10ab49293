/** Wrong requests: the right status and OpenAI's error object; and bytes that are no requests at all. */
import { connect } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { random } from '../../codegen/oracle/random.ts';
import { serve, until } from './textual.ts';

const running = await serve({ bodyLimit: 100_000 });
const { post, url } = running;
test.after(() => running.stop());

const TEXT = '/v1/completions';
const CHAT = '/v1/chat/completions';
const ask = (more: object) => ({ prompt: 'Hi', max_tokens: 2, ...more });
const say = (more: object) => ({ messages: [{ role: 'user', content: 'Hi' }], max_tokens: 2, ...more });

/** [path, body, status, param, words of the message] */
const cases: [string, unknown, number, string | null, RegExp?][] = [
  [TEXT, '', 400, null, /empty/],
  [TEXT, '{"prompt": ', 400, null, /JSON/],
  [TEXT, '[]', 400, null],
  [TEXT, 'null', 400, null],
  [TEXT, '"text"', 400, null],
  [TEXT, {}, 400, 'prompt', /Missing/],
  [TEXT, ask({ prompt: null }), 400, 'prompt', /Missing/],
  [TEXT, ask({ prompt: '' }), 400, 'prompt', /empty/],
  [TEXT, ask({ prompt: [] }), 400, 'prompt', /empty/],
  [TEXT, ask({ prompt: [[]] }), 400, 'prompt'],
  [TEXT, ask({ prompt: ['a', 1] }), 400, 'prompt', /list of strings/],
  [TEXT, ask({ prompt: [1, 'a'] }), 400, 'prompt', /whole numbers/],
  [TEXT, ask({ prompt: [1.5] }), 400, 'prompt'],
  [TEXT, ask({ prompt: [-1] }), 400, 'prompt'],
  [TEXT, ask({ prompt: [98] }), 400, 'prompt', /vocabulary/],
  [TEXT, ask({ prompt: { text: 'Hi' } }), 400, 'prompt'],
  [TEXT, ask({ prompt: Array.from({ length: 300 }, () => 'a') }), 400, 'prompt', /256/],
  [TEXT, ask({ prompt: ['a', 'b', 'c'], n: 100 }), 400, 'n', /256/],
  [TEXT, ask({ prompt: 'x'.repeat(1100) }), 400, 'prompt', /context/],
  [TEXT, ask({ max_tokens: 0 }), 400, 'max_tokens'],
  [TEXT, ask({ max_tokens: 1.5 }), 400, 'max_tokens'],
  [TEXT, ask({ max_tokens: '5' }), 400, 'max_tokens'],
  [TEXT, ask({ model: 'gpt-4' }), 404, 'model', /gpt-4/],
  [TEXT, ask({ model: 7 }), 400, 'model'],
  [TEXT, ask({ temperature: -1 }), 400, 'temperature'],
  [TEXT, ask({ temperature: 3 }), 400, 'temperature', /2/],
  [TEXT, ask({ temperature: 'hot' }), 400, 'temperature'],
  [TEXT, '{"prompt":"Hi","temperature":1e999}', 400, 'temperature'],
  [TEXT, ask({ top_p: 1.1 }), 400, 'top_p'],
  [TEXT, ask({ top_k: -2 }), 400, 'top_k'],
  [TEXT, ask({ min_p: 2 }), 400, 'min_p'],
  [TEXT, ask({ presence_penalty: 3 }), 400, 'presence_penalty'],
  [TEXT, ask({ frequency_penalty: -3 }), 400, 'frequency_penalty'],
  [TEXT, ask({ repetition_penalty: 0 }), 400, 'repetition_penalty'],
  [TEXT, ask({ logit_bias: { 5: 101 } }), 400, 'logit_bias[5]'],
  [TEXT, ask({ logit_bias: { 98: 1 } }), 400, 'logit_bias', /98/],
  [TEXT, ask({ logit_bias: { word: 1 } }), 400, 'logit_bias', /word/],
  [TEXT, ask({ n: 0 }), 400, 'n'],
  [TEXT, ask({ n: 2, best_of: 1 }), 400, 'best_of', /less than n/],
  [TEXT, ask({ suffix: 'end' }), 400, 'suffix'],
  [TEXT, ask({ logprobs: 21 }), 400, 'logprobs'],
  [TEXT, ask({ logprobs: true }), 400, 'logprobs'],
  [TEXT, ask({ stop: 5 }), 400, 'stop'],
  [TEXT, ask({ stop: Array.from({ length: 17 }, String) }), 400, 'stop'],
  [TEXT, ask({ stop_token_ids: ['a'] }), 400, 'stop_token_ids[0]'],
  [TEXT, ask({ seed: 0.5 }), 400, 'seed'],
  [TEXT, ask({ stream: 'yes' }), 400, 'stream'],
  [TEXT, ask({ stream_options: { include_usage: 1 } }), 400, 'stream_options.include_usage'],
  [TEXT, ask({ priority: 'high' }), 400, 'priority'],
  [TEXT, ask({ sparse_kv: 'h2o' }), 400, 'sparse_kv'],
  [TEXT, ask({ sparse_kv: { policy: 'nothere' } }), 400, 'sparse_kv.policy', /loaded are none, h2o/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', budget: -1 } }), 400, 'sparse_kv.budget', /from \d+ to \d+/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', budget: 0 } }), 400, 'sparse_kv.budget', /keeps nothing/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', budget: 'many' } }), 400, 'sparse_kv.budget', /number/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', budget: '64' } }), 400, 'sparse_kv.budget', /number/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', ratio: '0.5' } }), 400, 'sparse_kv.ratio', /number/],
  [TEXT, ask({ vllm_xargs: { sparse_kv_policy: 'h2o', sparse_kv_budget: '64' } }), 400, 'vllm_xargs.sparse_kv_budget'],
  [TEXT, ask({ vllm_xargs: { sparse_kv_ratio: true } }), 400, 'vllm_xargs.sparse_kv_ratio', /number/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', colour: 1 } }), 400, 'sparse_kv.colour', /budget/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', ratio: 0 } }), 400, 'sparse_kv.ratio', /above 0, up to 1/],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', ratio: 0.5, budget: 300 } }), 400, 'sparse_kv.ratio', /give one/],
  [TEXT, ask({ sparse_kv: { policy: 'none', ratio: 0.5 } }), 400, 'sparse_kv.ratio', /it keeps everything/],
  [
    TEXT,
    ask({ sparse_kv: { policy: 'h2o', budget: 300 }, vllm_xargs: { sparse_kv_budget: 400 } }),
    400,
    'vllm_xargs.sparse_kv_budget',
    /say the same thing: send one/,
  ],
  [
    TEXT,
    ask({ vllm_xargs: { sparse_kv_policy: 'h2o', sparse_kv_budget: 1e9 } }),
    400,
    'sparse_kv.budget',
    /from \d+ to \d+/,
  ],
  [TEXT, ask({ prompt: 'x'.repeat(100_001) }), 413, null],
  [CHAT, {}, 400, 'messages', /Missing/],
  [CHAT, say({ messages: [] }), 400, 'messages'],
  [CHAT, say({ messages: 'Hi' }), 400, 'messages'],
  [CHAT, say({ messages: [{ content: 'Hi' }] }), 400, 'messages[0].role'],
  [CHAT, say({ messages: [{ role: 'wizard', content: 'Hi' }] }), 400, 'messages[0].role'],
  [CHAT, say({ messages: [{ role: 'user', content: 5 }] }), 400, 'messages[0].content'],
  [
    CHAT,
    say({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }),
    400,
    'messages[0].content',
    /image_url/,
  ],
  [CHAT, say({ messages: [{ role: 'user', content: 'x'.repeat(2000) }] }), 400, 'messages', /context/],
  [CHAT, say({ top_logprobs: 3 }), 400, 'top_logprobs'],
  [CHAT, say({ logprobs: true, top_logprobs: 21 }), 400, 'top_logprobs'],
  [CHAT, say({ tools: [{ type: 'function', function: { name: 'f' } }] }), 400, 'tools', /shows no tools/],
  [CHAT, say({ response_format: { type: 'xml' } }), 400, 'response_format.type', /json_schema/],
  [CHAT, say({ model: 'gpt-4' }), 404, 'model'],
  ['/tokenize', {}, 400, 'prompt'],
  ['/tokenize', { prompt: 5 }, 400, 'prompt'],
  ['/detokenize', { tokens: 'abc' }, 400, 'tokens'],
  ['/detokenize', { tokens: [98] }, 400, 'tokens', /98/],
  ['/v1/nothing', {}, 404, null],
  ['/v1/models', {}, 405, null, /GET/],
  ['/health', {}, 405, null],
];

async function refused(response: Response, status: number, label: string) {
  const body = (await response.json()) as { error: Record<string, unknown> };
  assert.is(response.status, status, `${label}: ${JSON.stringify(body)}`);
  assert.equal(Object.keys(body), ['error'], label);
  assert.equal(Object.keys(body.error), ['message', 'type', 'param', 'code'], label);
  assert.type(body.error.message, 'string');
  assert.is(body.error.type, status >= 500 ? 'server_error' : 'invalid_request_error', label);
  return body.error as { message: string; param: string | null };
}

for (const [path, body, status, param, words] of cases) {
  const label = `${path} ${(typeof body === 'string' ? body : JSON.stringify(body)).slice(0, 90)}`;
  test(label, async () => {
    const error = await refused(await post(path, body), status, label);
    assert.is(error.param, param);
    if (words) assert.match(error.message, words);
  });
}

test('the wrong verb, type of body, or path', async () => {
  const wrongVerb = await fetch(url + TEXT);
  assert.is(wrongVerb.headers.get('allow'), 'POST');
  await refused(wrongVerb, 405, 'GET');
  await refused(await fetch(url + TEXT, { method: 'DELETE' }), 405, 'DELETE');
  await refused(await post(TEXT, 'prompt=Hi', { 'content-type': 'application/x-www-form-urlencoded' }), 415, 'form');
  await refused(await fetch(`${url}/v1/models/gpt-4`), 404, 'model');
  await refused(await fetch(`${url}/%zz`), 400, 'bad escape');
});

test('a refused request starts no generation', async () => {
  await post(TEXT, ask({ prompt: [[5], [98]] }));
  await until('nothing runs', () => running.engine.stats().running + running.engine.stats().waiting === 0);
});

test('fields that nobody knows pass', async () => {
  assert.is(
    (
      await post(
        CHAT,
        say({ surprise: [1], metadata: {}, store: false, stop: null, seed: null, logit_bias: null, tools: [] }),
      )
    ).status,
    200,
  );
});

/** What clients branch on: [path, body, status, param, code]. */
const codes: [string, object, number, string | null, string][] = [
  [TEXT, {}, 400, 'prompt', 'missing_required_parameter'],
  [TEXT, ask({ prompt: null }), 400, 'prompt', 'missing_required_parameter'],
  [CHAT, {}, 400, 'messages', 'missing_required_parameter'],
  [CHAT, { messages: [{ content: 'Hi' }] }, 400, 'messages[0].role', 'missing_required_parameter'],
  [TEXT, ask({ temperature: 'hot' }), 400, 'temperature', 'invalid_value'],
  [TEXT, ask({ prompt: [98] }), 400, 'prompt', 'invalid_value'],
  [TEXT, ask({ prompt: 'x'.repeat(1100) }), 400, 'prompt', 'context_length_exceeded'],
  [CHAT, say({ messages: [{ role: 'user', content: 'x'.repeat(1100) }] }), 400, 'messages', 'context_length_exceeded'],
  [TEXT, ask({ sparse_kv: { policy: 'context' } }), 400, 'sparse_kv.policy', 'invalid_value'],
  [TEXT, ask({ sparse_kv: { policy: 'h2o', budget: -1 } }), 400, 'sparse_kv.budget', 'invalid_value'],
  [TEXT, ask({ model: 'gpt-4' }), 404, 'model', 'model_not_found'],
];
for (const [path, body, status, param, code] of codes)
  test(`${code}: ${path} ${JSON.stringify(body).slice(0, 60)}`, async () => {
    const response = await post(path, body);
    const { error } = (await response.json()) as { error: { param: string | null; code: string | null } };
    assert.equal([response.status, error.param, error.code], [status, param, code]);
  });

test('1,000 random bodies (seed 3) get an answer, and the server lives', async () => {
  const next = random(3);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
  const valid = JSON.stringify(
    say({ temperature: 0.5, stop: ['a'], sparse_kv: { policy: 'h2o', budget: 300 }, stream: true }),
  );
  const counts = new Map<number, number>();
  for (let i = 0; i < 1000; i++) {
    let body: Buffer;
    if (i % 2) body = Buffer.from(Array.from({ length: Math.floor(next() * 300) }, () => Math.floor(next() * 256)));
    else {
      body = Buffer.from(valid);
      for (let k = 0; k <= next() * 4; k++) body[Math.floor(next() * body.length)] = Math.floor(next() * 256);
    }
    const response = await fetch(url + pick([TEXT, CHAT, '/tokenize', '/detokenize']), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const answer = await response.text();
    assert.ok([200, 400, 404].includes(response.status), `body ${i}: ${response.status} ${answer}`);
    if (response.status !== 200) assert.type(JSON.parse(answer).error.message, 'string');
    counts.set(response.status, (counts.get(response.status) ?? 0) + 1);
  }
  assert.ok((counts.get(400) ?? 0) > 800, 'most are refused');
  assert.is((await fetch(`${url}/health`)).status, 200);
});

test('100 times garbage on the socket (seed 4)', async () => {
  const next = random(4);
  const { port, hostname } = new URL(url);
  const starts = [
    '',
    'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n',
    'GET /health HTTP/9.9\r\n\r\n',
    `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`,
    'POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n',
  ];
  for (let i = 0; i < 100; i++) {
    const bytes = Buffer.from(Array.from({ length: 1 + Math.floor(next() * 200) }, () => Math.floor(next() * 256)));
    const reply = await new Promise<string>((resolve) => {
      const socket = connect(Number(port), hostname);
      let text = '';
      socket
        .on('data', (data) => (text += data.toString('latin1')))
        .on('error', () => {})
        .on('close', () => resolve(text));
      socket.end(Buffer.concat([Buffer.from(starts[i % starts.length]), bytes]));
      setTimeout(() => socket.destroy(), 30_000).unref();
    });
    if (reply !== '' && !/^HTTP\/1\.1 2/.test(reply)) {
      assert.match(reply, /^HTTP\/1\.1 4\d\d /);
      const body = reply.slice(reply.indexOf('\r\n\r\n') + 4); // another answer may follow on the same socket
      assert.type(JSON.parse(body.slice(0, Number(reply.match(/content-length: (\d+)/)![1]))).error.message, 'string');
    }
  }
  assert.is((await fetch(`${url}/health`)).status, 200);
});

test.run();
