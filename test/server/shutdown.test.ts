/** Signals to a server in its own process: the first drains, the second stops at once. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const helpers = new URL('./textual.ts', import.meta.url).href;
/** Takes a minute and more, unless the server is told to hurry. */
const long = { prompt: 'Once', max_tokens: 900, temperature: 0, ignore_eos: true };

interface Child {
  child: ChildProcess;
  url: string;
  exit: Promise<{ code: number | null; signal: string | null }>;
  errors(): string;
  /** the requests that run shall end soon */
  hurry(): void;
  ask(body: object): Promise<Response>;
}

/** Draining may take as long as it wants, so that what ends at once does so for a reason. */
async function start(shutdownTimeout = 3600): Promise<Child> {
  const program = `import(${JSON.stringify(helpers)}).then(({ serveAlone }) => serveAlone(${shutdownTimeout}))`;
  const child = spawn(process.execPath, ['--import', 'tsx', '--eval', program], { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (data) => (errors += data));
  // 'close', not 'exit': by then all that it wrote has been read
  const exit = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  const line = await Promise.race([
    once(child.stdout, 'data').then(([data]) => String(data)),
    exit.then(() => {
      throw new Error(errors);
    }),
  ]);
  const url = line.trim();
  const ask = (body: object) =>
    fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  return { child, url, exit, errors: () => errors, hurry: () => child.kill('SIGUSR2'), ask };
}

/** A stream that has begun, so that the request runs for sure. */
async function begun({ ask }: Child, body: object): Promise<{ rest(): Promise<string> }> {
  const reader = (await ask({ ...body, stream: true })).body!.getReader();
  let text = new TextDecoder().decode((await reader.read()).value);
  return {
    rest: async () => {
      for (let part = await reader.read(); !part.done; part = await reader.read())
        text += new TextDecoder().decode(part.value);
      return text;
    },
  };
}

/** The signal has arrived: nothing that is asked from here on runs. */
async function draining(server: Child): Promise<void> {
  while (!/finishing/.test(server.errors())) await new Promise((done) => setTimeout(done, 5));
}

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  test(`${signal} drains: the running stream ends whole, new requests get 503, exit 0`, async () => {
    const server = await start();
    const stream = await begun(server, long);
    server.child.kill(signal);
    await draining(server);
    assert.is((await server.ask({ prompt: 'Hi', max_tokens: 1 })).status, 503);
    assert.is((await fetch(`${server.url}/health`)).status, 503);
    server.hurry();
    const text = await stream.rest();
    assert.match(text, /"finish_reason":"length"/);
    assert.match(text, /\[DONE\]\n\n$/);
    assert.equal(await server.exit, { code: 0, signal: null });
    assert.match(server.errors(), /finishing 1 request/);
  });

test('a crash under a request: its stream breaks, the last line says what happened', async () => {
  const server = await start();
  const stream = await begun(server, long);
  server.child.kill('SIGSEGV'); // the handler is the one that a fault in native code meets
  await stream.rest().then(
    (text) => assert.not.match(text, /\[DONE\]/),
    () => {},
  );
  assert.is((await server.exit).signal, 'SIGSEGV');
  assert.match(server.errors(), /skv: native code crashed \(SIGSEGV\)\. .*\n$/);
});

test('idle: exits 0 at once', async () => {
  const server = await start();
  server.child.kill('SIGTERM');
  assert.is((await server.exit).code, 0);
});

for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)
  test(`a second ${signal} stops at once with ${code}`, async () => {
    const server = await start();
    const stream = await begun(server, long);
    server.child.kill('SIGTERM');
    await draining(server);
    server.child.kill(signal);
    assert.is((await server.exit).code, code);
    await stream.rest().catch(() => {});
  });

test('when the time for draining is over, what runs is cut off with its text, and the exit is 0', async () => {
  const server = await start(0.3);
  const stream = await begun(server, long);
  server.child.kill('SIGTERM');
  const text = await stream.rest();
  assert.match(text, /"finish_reason":"abort"/);
  assert.match(text, /\[DONE\]\n\n$/);
  assert.is((await server.exit).code, 0);
});

test.run();
