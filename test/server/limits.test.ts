/** What protects the server: keys, the queue's limit, the time limit, clients that leave or do not read, failures. */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Choice, interleave } from '../../runtime/server/choice.ts';
import { type Running, events, serve, until } from './textual.ts';

const long = { prompt: 'A story without end', max_tokens: 900, temperature: 0, ignore_eos: true };
const COMPLETIONS = '/v1/completions';
const CHAT = '/v1/chat/completions';
const idle = ({ engine }: Running) => {
  const { running, waiting, pagesUsed, pagesCached } = engine.stats();
  return running + waiting === 0 && pagesUsed === pagesCached;
};

/** Slows the engine down to `ms` a step, so that a request is still running when the test looks. */
function slow({ engine }: Running, ms: number): void {
  const inner = engine.onStep;
  engine.onStep = (step) => {
    inner?.(step);
    for (const end = performance.now() + ms; performance.now() < end; );
  };
}

async function withServer(options: Parameters<typeof serve>, body: (running: Running) => Promise<void>): Promise<void> {
  const running = await serve(...options);
  try {
    await body(running);
  } finally {
    await running.stop();
  }
}

test('an API key guards everything but health and metrics', () =>
  withServer([{ apiKey: 'sesame' }], async ({ post, url }) => {
    for (const headers of [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: 'sesame' },
      { authorization: 'Bearer sesamE' },
    ] as Record<string, string>[]) {
      const refused = await post(COMPLETIONS, { prompt: 'Hi' }, headers);
      assert.is(refused.status, 401);
      const { error } = (await refused.json()) as { error: Record<string, string> };
      assert.is(error.code, 'invalid_api_key');
    }
    for (const path of ['/v1/models', '/v1/models?x', '/openapi.json', '/health/../v1/models'])
      assert.is((await fetch(url + path)).status, 401, path);
    for (const path of ['/health', '/health?now', '/metrics']) assert.is((await fetch(url + path)).status, 200, path);
    assert.is((await post(COMPLETIONS, { prompt: 'Hi' }, { authorization: 'Bearer sesame' })).status, 200);
  }));

test('a full queue is a 429 with Retry-After, and empties again', () =>
  withServer([{ maxQueue: 3 }, { maxSeqs: 1 }], async (running) => {
    slow(running, 1);
    const first = [running.post(COMPLETIONS, long), running.post(COMPLETIONS, { ...long, n: 2 })];
    await until('three sequences', () => running.engine.stats().running + running.engine.stats().waiting === 3);
    const refused = await running.post(COMPLETIONS, { prompt: 'Hi' });
    assert.is(refused.status, 429);
    assert.is(refused.headers.get('retry-after'), '1');
    const { error } = (await refused.json()) as { error: Record<string, string> };
    assert.equal([error.type, error.code], ['rate_limit_error', 'queue_full']);
    for (const response of await Promise.all(first)) assert.is(response.status, 200);
    assert.is((await running.post(COMPLETIONS, { prompt: 'Hi' })).status, 200);
  }));

for (const stream of [true, false])
  test(`a client that leaves ${stream ? 'a stream' : 'before its answer'} frees its pages`, () =>
    withServer([], async (running) => {
      slow(running, 1);
      const controller = new AbortController();
      const asked = fetch(running.url + COMPLETIONS, {
        method: 'POST',
        signal: controller.signal,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...long, n: 3, stream }),
      });
      if (stream) await (await asked).body!.getReader().read();
      else asked.catch(() => {});
      await until('running', () => running.engine.stats().running === 3);
      const before = running.engine.stats().generatedTokens;
      controller.abort();
      await until('pages are free', () => idle(running));
      assert.ok(running.engine.stats().generatedTokens - before < 600, 'long before the 900 tokens of each');
      assert.is(running.server.active(), 0);
    }));

test('a client that leaves while its long prompt is read starts nothing', () =>
  withServer([], async (running) => {
    const controller = new AbortController();
    const asked = fetch(running.url + COMPLETIONS, {
      method: 'POST',
      signal: controller.signal,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...long, prompt: 'x'.repeat(10_000), sparse_kv: { policy: 'streaming' } }),
    }).catch(() => {});
    await until('accepted', () => running.server.active() === 1);
    controller.abort();
    await asked;
    await until('forgotten', () => running.server.active() === 0 && idle(running));
  }));

test('a client that does not read does not stop the others, and its time runs out', () =>
  withServer([{ timeLimit: 15 }], async (running) => {
    const { port, hostname } = new URL(running.url);
    const body = JSON.stringify({ ...long, n: 8, logprobs: 20, stream: true });
    const socket = connect(Number(port), hostname);
    socket.pause();
    socket.on('error', () => {});
    socket.write(
      `POST ${COMPLETIONS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await until('accepted', () => running.server.active() === 1);
    assert.is((await running.post(COMPLETIONS, { prompt: 'Hi', max_tokens: 4 })).status, 200);
    await until('cut off', () => running.server.active() === 0 && idle(running));
    socket.destroy();
  }));

test('the time limit is a 503, in a stream an error event', () =>
  withServer([{ timeLimit: 0.2 }], async (running) => {
    slow(running, 2);
    const whole = await running.post(COMPLETIONS, long);
    assert.is(whole.status, 503);
    assert.is(((await whole.json()) as { error: { code: string } }).error.code, 'request_timeout');
    const list = await events(await running.post(COMPLETIONS, { ...long, stream: true }));
    assert.is(list.pop(), '[DONE]');
    assert.is(JSON.parse(list.pop()!).error.code, 'request_timeout');
    assert.ok(list.length > 0, 'after some text');
    await until('pages are free', () => idle(running));
  }));

test('a failure of the engine is a 500 without its details, in a stream an error event', () =>
  withServer([], async (running) => {
    const { engine } = running;
    const submit = engine.submit.bind(engine);
    engine.submit = (request) => {
      const generation = submit(request);
      const finished = generation.finished.then((end) => ({
        ...end,
        reason: 'error' as const,
        error: new Error('secret /path'),
      }));
      return {
        id: generation.id,
        finished,
        admitted: generation.admitted,
        abort: () => generation.abort(),
        [Symbol.asyncIterator]: () => generation[Symbol.asyncIterator](),
      };
    };
    const whole = await running.post(COMPLETIONS, { prompt: 'Hi', n: 2 });
    assert.is(whole.status, 500);
    const text = await whole.text();
    assert.not.match(text, /secret/);
    assert.is(JSON.parse(text).error.type, 'server_error');
    const list = await events(
      await running.post('/v1/chat/completions', {
        messages: [{ role: 'user', content: 'Hi' }],
        max_tokens: 3,
        stream: true,
      }),
    );
    assert.is(list.pop(), '[DONE]');
    assert.is(JSON.parse(list.pop()!).error.type, 'server_error');
  }));

test('after a step that failed, requests and health say so', () =>
  withServer([], async ({ engine, post, url }) => {
    engine.onStep = () => {
      throw new Error('out of order');
    };
    for (let i = 0; i < 2; i++) assert.is((await post(COMPLETIONS, { prompt: 'Hi' })).status, 500);
    const health = await fetch(`${url}/health`);
    assert.is(health.status, 503);
    assert.equal(await health.json(), { status: 'broken', reason: 'The engine has stopped: out of order' });
  }));

test('a choice that fails while its last piece is being read fails the answer, not the process', async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  const failing = {
    async *pieces() {
      yield { text: 'a', events: [] };
      throw new Error('late');
    },
  };
  const read = async () => {
    for await (const _ of interleave([failing as unknown as Choice])) await sleep(20);
  };
  assert.is(await read().catch((error: Error) => error.message), 'late');
  process.off('unhandledRejection', note);
  assert.equal(unhandled, []);
});

test('a body of millions of wrong entries is refused at the first, in little memory', () =>
  withServer([], async ({ post }) => {
    const list = (entry: string) => `[${Array.from({ length: Math.floor(8e6 / (entry.length + 1)) }, () => entry)}]`;
    const record = (value: string) => `{${Array.from({ length: 500_000 }, (_, i) => `"${i}":${value}`)}}`;
    const cases: [path: string, body: string, param: string][] = [
      [CHAT, `{"messages":${list('0')}}`, 'messages[0]'],
      [CHAT, `{"messages":[{"role":"user","content":${list('0')}}]}`, 'messages[0].content'],
      [COMPLETIONS, `{"prompt":"Hi","stop":${list('0')}}`, 'stop'],
      [COMPLETIONS, `{"prompt":"Hi","stop_token_ids":${list('-1')}}`, 'stop_token_ids'],
      [COMPLETIONS, `{"prompt":"Hi","logit_bias":${record('101')}}`, 'logit_bias[0]'],
      [COMPLETIONS, `{"prompt":"Hi","sparse_kv":${record('null')}}`, 'sparse_kv[0]'],
      [COMPLETIONS, `{"prompt":"Hi","vllm_xargs":${record('null')}}`, 'vllm_xargs[0]'],
      ['/detokenize', `{"tokens":${list('""')}}`, 'tokens[0]'],
      ['/detokenize', `{"tokens":${list('1e16')}}`, 'tokens[0]'],
    ];
    const before = process.resourceUsage().maxRSS;
    for (const [path, body, param] of cases) {
      const refused = await post(path, body);
      const { error } = (await refused.json()) as { error: { message: string; param: string } };
      assert.equal([refused.status, error.param], [400, param]);
      assert.ok(error.message.length < 200, error.message);
    }
    const grown = process.resourceUsage().maxRSS - before;
    console.log(`${cases.length} bodies of 8 MB: peak memory grew by ${Math.round(grown / 1024)} MiB`);
    assert.ok(grown < 512 * 1024, `${grown} KiB`);
  }));

test('while draining: new requests and health get 503, running ones finish', () =>
  withServer([], async (running) => {
    slow(running, 1);
    const first = running.post(COMPLETIONS, { ...long, max_tokens: 200 });
    await until('running', () => running.engine.stats().running === 1);
    running.server.drain();
    assert.is((await fetch(`${running.url}/health`)).status, 503);
    const refused = await running.post(COMPLETIONS, { prompt: 'Hi' });
    assert.is(refused.status, 503);
    assert.ok(refused.headers.get('retry-after'));
    assert.is(((await (await first).json()) as { usage: { completion_tokens: number } }).usage.completion_tokens, 200);
  }));

test.run();
