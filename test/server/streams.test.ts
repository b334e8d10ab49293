/** Streams speak at once and keep alive; who leaves, or takes nothing, holds no pages. */
import { type Socket, connect } from 'node:net';
import OpenAI from 'openai';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { GenerationQueue } from '../../runtime/engine/generation.ts';
import { Pace } from '../../runtime/server/pace.ts';
import { type Door, type Running, doorOf, serve, until } from './textual.ts';

const TEXT = '/v1/completions';
const CHAT = '/v1/chat/completions';
const greedy = { prompt: 'x'.repeat(600), max_tokens: 4, temperature: 0, ignore_eos: true };
const messages = [{ role: 'user' as const, content: 'x'.repeat(600) }];
const idle = ({ engine }: Running) => {
  const { running, waiting, pagesUsed, pagesCached } = engine.stats();
  return running + waiting === 0 && pagesUsed === pagesCached;
};

async function withDoor(
  options: Parameters<typeof serve>,
  body: (running: Running, door: Door) => Promise<void>,
): Promise<void> {
  const running = await serve(...options);
  const door = doorOf(running.engine);
  try {
    await body(running, door);
  } finally {
    door.open();
    await running.stop();
  }
}

/** Reads a stream until its text matches. */
async function read(reader: ReadableStreamDefaultReader<Uint8Array>, pattern?: RegExp): Promise<string> {
  let text = '';
  while (!pattern?.test(text)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += new TextDecoder().decode(value);
  }
  return text;
}

const hasty = { streams: { keepAlive: 0.05 } };

test('while a prompt is read: the status, the role, and comments', () =>
  withDoor([hasty, { maxBatchedTokens: 64 }], async ({ post }, door) => {
    for (const [path, body] of [
      [TEXT, greedy],
      [CHAT, { ...greedy, prompt: undefined, messages }],
    ] as const) {
      door.shut = true;
      const response = await post(path, { ...body, stream: true });
      assert.is(response.status, 200);
      const reader = response.body!.getReader();
      const before = await read(reader, /(: still there\n\n.*){2}/s);
      if (path === CHAT) assert.match(before, /^data: .*"delta":\{"role":"assistant","content":""\}/);
      assert.not.match(before, /"finish_reason":"/);
      door.open();
      assert.match(await read(reader), /"finish_reason":"length".*\[DONE\]\n\n$/s);
    }
  }));

test('echo’s scores are computed after the status', () =>
  withDoor([hasty], async ({ post }, door) => {
    door.shut = true;
    const response = await post(TEXT, { ...greedy, echo: true, logprobs: 1, stream: true });
    const reader = response.body!.getReader();
    await read(reader, /: still there/);
    door.open();
    assert.match(await read(reader), /"text_offset":\[0,1,2,.*\[DONE\]/s);
  }));

test('clients take comments for nothing', () =>
  withDoor([hasty], async ({ url }, door) => {
    door.shut = true;
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
    const stream = await client.chat.completions.create({ model: 'tiny', messages, max_tokens: 4, stream: true });
    setTimeout(() => door.open(), 200);
    let chunks = 0;
    for await (const chunk of stream) chunks += chunk.choices.length;
    assert.ok(chunks > 1);
  }));

test('a stream that only waits begins when it is admitted, or when its patience ends', async () => {
  await withDoor([{ timeLimit: 0.5, streams: { patience: 3600 } }, { maxSeqs: 1 }], async (running, door) => {
    door.shut = true;
    const first = running.post(TEXT, greedy);
    await until('running', () => running.engine.stats().running === 1);
    const waits = await running.post(TEXT, { ...greedy, stream: true });
    assert.is(waits.status, 503, 'a router may try another server');
    door.open();
    await first;
  });
  await withDoor([{ streams: { patience: 3600 } }, { maxSeqs: 1 }], async (running, door) => {
    door.shut = true;
    const first = running.post(TEXT, greedy);
    await until('running', () => running.engine.stats().running === 1);
    const waits = running.post(TEXT, { ...greedy, stream: true });
    await until('waiting', () => running.engine.stats().waiting === 1);
    door.open();
    assert.is((await waits).status, 200);
    await first;
  });
  await withDoor([{ streams: { patience: 0.1 } }, { maxSeqs: 1 }], async (running, door) => {
    door.shut = true;
    const first = running.post(TEXT, greedy);
    await until('running', () => running.engine.stats().running === 1);
    const waits = await running.post(TEXT, { ...greedy, stream: true });
    assert.is(waits.status, 200);
    assert.is(running.engine.stats().waiting, 1, 'still in the queue');
    door.open();
    await first;
    await waits.text();
  });
});

test('a client that leaves in the middle of a long prompt frees its pages with the step that runs', () =>
  withDoor([{}, { maxBatchedTokens: 64 }], async (running, door) => {
    for (const stream of [true, false]) {
      door.shut = true;
      const controller = new AbortController();
      const { signal } = controller;
      const headers = { 'content-type': 'application/json' };
      const body = JSON.stringify({ ...greedy, stream });
      const asked = fetch(running.url + TEXT, { method: 'POST', signal, headers, body });
      asked.catch(() => {});
      const begin = door.steps;
      await until('the first of ten chunks', () => door.steps === begin + 1);
      controller.abort();
      await until('seen', () => running.server.active() === 0);
      door.open();
      await until('pages are free', () => idle(running));
      assert.is(door.steps, begin + 1, 'no other step');
    }
  }));

test('a client that takes nothing is let go once the buffers of its socket are full', () =>
  withDoor([{ streamStallTimeout: 0.5 }, { maxSeqs: 64 }], async (running, door) => {
    const sockets: Socket[] = [];
    running.server.app.server.on('connection', (socket) => sockets.push(socket));
    const { port, hostname } = new URL(running.url);
    const body = JSON.stringify({ ...greedy, prompt: 'x', max_tokens: 900, n: 64, logprobs: 20, stream: true });
    const head = `POST ${TEXT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    const client = connect(Number(port), hostname);
    client.pause();
    client.on('error', () => {});
    client.write(`${head}\r\n\r\n${body}`);
    await until('full', () => sockets.some((socket) => socket.writableNeedDrain));
    door.shut = true; // so that it cannot end by itself
    await until('let go', () => running.server.active() === 0);
    const { generatedTokens } = running.engine.stats();
    assert.ok(generatedTokens < 64 * 900, `${generatedTokens} tokens`);
    door.open();
    await until('pages are free', () => idle(running));
    client.destroy();
  }));

test('one that takes little by little is not', () =>
  withDoor([{ streamStallTimeout: 2 }, { maxSeqs: 64 }], async (running) => {
    const { port, hostname } = new URL(running.url);
    const body = JSON.stringify({ ...greedy, prompt: 'x', max_tokens: 100, n: 64, logprobs: 20, stream: true });
    const head = `POST ${TEXT} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: ${body.length}`;
    const client = connect(Number(port), hostname);
    client.write(`${head}\r\n\r\n${body}`);
    let last = '';
    for await (const data of client) {
      last = (last + data).slice(-40);
      await new Promise((done) => setTimeout(done, 5));
    }
    assert.match(last, /\[DONE\]\n\n$/);
  }));

test('tokens that have been taken are forgotten', async () => {
  const queue = new GenerationQueue(1, () => {});
  const inside = queue as unknown as { events: unknown[] };
  const reader = queue[Symbol.asyncIterator]();
  for (let token = 0; token < 10_000; token++) {
    queue.push({ token });
    assert.equal((await reader.next()).value, { token });
    assert.ok(inside.events.length < 200);
  }
});

test('Retry-After tells the expected wait', () => {
  const pace = new Pace();
  pace.begin(1000);
  assert.is(pace.wait(5, 1000), 1);
  assert.is(pace.wait(5, 8500), 8, 'nothing has ended yet');
  for (let i = 1; i <= 10; i++) pace.ended(1000 + i * 500);
  assert.is(pace.wait(60, 6000), 30, 'two a second');
  for (let i = 1; i <= 40; i++) pace.ended(6000 + i * 100);
  assert.is(pace.wait(60, 10_000), 6, 'the last ones count');
  assert.is(pace.wait(100_000, 10_000), 600);
  pace.begin(90_000);
  assert.is(pace.wait(60, 90_100), 1, 'after a rest nothing is known');
});

test.run();
