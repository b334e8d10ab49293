/** Pages of other origins, keys, and the ways in which old clients speak HTTP. */
import { connect } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { events, serve } from './textual.ts';

const PAGE = 'http://localhost:5173';
const running = await serve({ apiKey: 'sesame', allowedOrigins: [PAGE, 'https://chat.example'] });
const closed = await serve();
test.after(async () => {
  await running.stop();
  await closed.stop();
});
const TEXT = '/v1/completions';
const asked = { prompt: 'Hi', max_tokens: 2, temperature: 0 };
const key = { authorization: 'Bearer sesame' };
const preflight = (url: string, origin: string, path = TEXT) =>
  fetch(url + path, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,x-stainless-os',
    },
  });

test('a preflight is answered before the key is asked for', async () => {
  for (const path of [TEXT, '/v1/chat/completions', '/v1/models', '/tokenize']) {
    const { status, headers } = await preflight(running.url, PAGE, path);
    assert.is(status, 204, path);
    assert.is(headers.get('access-control-allow-origin'), PAGE);
    assert.match(headers.get('access-control-allow-methods')!, /POST/);
    assert.is(headers.get('access-control-allow-headers'), 'authorization,x-stainless-os');
    assert.is(headers.get('vary'), 'origin');
  }
});

test('answers, streams and refusals may be read by allowed pages alone', async () => {
  for (const [headers, status] of [
    [key, 200],
    [{}, 401],
  ] as const) {
    const answer = await running.post(TEXT, asked, { ...headers, origin: PAGE });
    assert.equal([answer.status, answer.headers.get('access-control-allow-origin')], [status, PAGE]);
    await answer.text();
  }
  const stream = await running.post(TEXT, { ...asked, stream: true }, { ...key, origin: 'https://chat.example' });
  assert.is(stream.headers.get('access-control-allow-origin'), 'https://chat.example');
  assert.is((await events(stream)).at(-1), '[DONE]');
  const foreign = await running.post(TEXT, asked, { ...key, origin: 'https://evil.example' });
  assert.is(foreign.headers.get('access-control-allow-origin'), null);
  assert.is((await preflight(running.url, 'https://evil.example')).status, 403);
});

test('without the flag no page is allowed, with * every one', async () => {
  assert.is((await preflight(closed.url, PAGE)).status, 403);
  assert.is((await closed.post(TEXT, asked, { origin: PAGE })).headers.get('access-control-allow-origin'), null);
  const open = await serve({ allowedOrigins: ['*'] });
  const { status, headers } = await preflight(open.url, 'https://anybody.example');
  assert.equal([status, headers.get('access-control-allow-origin')], [204, '*']);
  await open.stop();
});

test('JSON may come as text, but not from a page that asks nobody', async () => {
  const text = { 'content-type': 'text/plain;charset=UTF-8' };
  assert.is((await closed.post(TEXT, asked, text)).status, 200);
  assert.is((await closed.post(TEXT, '{"prompt":', text)).status, 400);
  assert.is((await closed.post(TEXT, asked, { ...text, origin: closed.url })).status, 200, 'its own page');
  assert.is((await closed.post(TEXT, asked, { ...text, origin: 'https://evil.example' })).status, 415);
  assert.is((await closed.post(TEXT, asked, { ...text, origin: 'null' })).status, 415, 'a page in a sandbox');
  assert.is((await running.post(TEXT, asked, { ...text, ...key, origin: PAGE })).status, 200);
});

test('the scheme of a key has no case, the key has; Anthropic’s header serves as well', async () => {
  const status = async (headers: Record<string, string>) => (await running.post(TEXT, asked, headers)).status;
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer  '])
    assert.is(await status({ authorization: `${scheme} sesame` }), 200, scheme);
  assert.is(await status({ 'x-api-key': 'sesame' }), 200);
  for (const headers of [
    { authorization: 'Bearer Sesame' },
    { authorization: 'Basic sesame' },
    { authorization: 'bearersesame' },
    { 'x-api-key': 'Sesame' },
    { authorization: 'Bearer ' },
  ] as Record<string, string>[])
    assert.is(await status(headers), 401, JSON.stringify(headers));
  for (const path of ['/health/', '//health', '/ping', '/metrics/'])
    assert.is((await fetch(running.url + path)).status, 200, path);
  assert.is((await fetch(`${running.url}/nothing`)).status, 401, 'nor does it tell what is there');
});

/** What a server sends to bytes on a socket, until it closes. */
function raw(url: string, request: string): Promise<string> {
  const { port, hostname } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(request));
    let text = '';
    socket
      .on('data', (data) => (text += data))
      .on('error', reject)
      .on('close', () => resolve(text));
  });
}

test('HTTP/1.0: whole and streamed, ended by closing, no chunks, no Host', async () => {
  for (const stream of [false, true]) {
    const body = JSON.stringify({ ...asked, stream });
    const head = `POST ${TEXT} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    const text = await raw(closed.url, `${head}\r\n\r\n${body}`);
    assert.match(text, /^HTTP\/1\.[01] 200 /);
    assert.not.match(text, /transfer-encoding|keep-alive/i);
    const answer = text.slice(text.indexOf('\r\n\r\n') + 4);
    if (stream) assert.ok(answer.startsWith('data: {') && answer.endsWith('data: [DONE]\n\n'), answer);
    else assert.is(JSON.parse(answer).usage.completion_tokens, 2);
  }
});

test('status routes say what is served', async () => {
  // biome-ignore lint/suspicious/noExplicitAny: answers of a server are read freely
  const get = async (path: string): Promise<any> => (await fetch(closed.url + path)).json();
  assert.equal(await get('/ping'), { status: 'ok' });
  assert.is((await closed.post('/ping', {})).status, 200);
  assert.equal(await get('/load'), { server_load: 0 });
  const info = await get('/server_info');
  assert.equal([info.model.name, info.model.max_model_len], ['tiny', 1024]);
  assert.equal(
    info.sparse_kv.map(({ policy }: { policy: string }) => policy),
    ['none', 'h2o', 'tova', 'streaming'],
  );
  const tokens = await get('/tokenizer_info');
  assert.equal([tokens.bos_token, tokens.eos_token, tokens.model_max_length], [null, '<|im_end|>', 1024]);
  const metrics = await (await fetch(`${closed.url}/metrics`)).text();
  assert.match(
    metrics,
    /vllm:cache_config_info\{block_size="16",num_gpu_blocks="\d+",[^}]*enable_prefix_caching="true"/,
  );
  for (const name of [
    'process_resident_memory_bytes',
    'process_cpu_seconds_total',
    'vllm:request_queue_time_seconds_count',
  ])
    assert.match(metrics, new RegExp(`^${name}`, 'm'));
  const { paths } = await get('/openapi.json');
  for (const path of ['/v1/completions', '/v1/chat/completions', '/tokenize', '/detokenize'])
    assert.ok(paths[path].post.requestBody.content['application/json'].schema.properties, path);
});

test('what a text model has not is a 404 in OpenAI’s form', async () => {
  for (const path of [
    'embeddings',
    'audio/speech',
    'audio/transcriptions',
    'images/generations',
    'moderations',
    'files',
  ]) {
    const answer = await closed.post(`/v1/${path}`, { model: 'tiny', input: 'Hi' });
    const { error } = (await answer.json()) as { error: Record<string, string> };
    assert.equal([answer.status, error.type, error.code], [404, 'invalid_request_error', 'not_found'], path);
  }
});

test.run();
