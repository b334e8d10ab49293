/**
 * `./gpu.sh serve-check`: `skv serve --device cuda` on the bundle's models answers what the CPU answered when the bundle was
 * made. A line that fails stops nothing.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { metrics, stream } from '../../../bench/client.ts';
import { root } from '../../../toolchain/folders.mjs';
import { RECORDED, type Recorded, ask, compare, flagsOf } from './answers.ts';
import { writeModel } from './models.ts';
import { Server, within } from './server.ts';
import { Table } from './table.ts';

/** Seconds that a line may take once its server runs. */
const LINE = Number(process.env.LINE_LIMIT ?? 60);

const table = new Table('serve-check.md', ['', 'model', 'what', 'says', 's']);
let failed = 0;

const modelOf = ({ name, precision, place }: Recorded) =>
  `${name}${precision === 'f32' ? '' : ` in ${precision}`}${place ? `, pages in the ${place}'s memory` : ''}`;

/** Flags of the server here. */
const flagsHere = (recorded: Recorded) => [
  ...flagsOf(root, recorded),
  ...(recorded.place ? ['--place', recorded.place] : []),
];

/** One line of the table: what `work` says of a server that runs, or why it fails, which it returns. */
async function line(
  server: Server,
  recorded: Recorded,
  what: string,
  work: (url: string) => Promise<string>,
): Promise<string | undefined> {
  const start = performance.now();
  const row = (verdict: string, says: string) =>
    table.row([verdict, modelOf(recorded), what, says, ((performance.now() - start) / 1000).toFixed(1)]);
  try {
    const { url } = await server.ready();
    row('ok', await within(LINE, work(url)));
    return undefined;
  } catch (error) {
    const { name, message } = error as Error;
    failed++;
    row('FAIL', message);
    if (name === 'TimeoutError') await server.stop(); // what still runs there would be in the next one's way
    return message;
  }
}

const starts = (server: Server, recorded: Recorded) =>
  line(server, recorded, 'a server', async () => `ready after ${(await server.ready()).readySeconds!.toFixed(1)} s`);

const answers = (server: Server, recorded: Recorded, { asked, answer }: Recorded['cases'][number]) =>
  line(server, recorded, asked.policy, async (url) => compare(await ask(url, asked, LINE), answer, recorded));

/** Every case alone, then all of them side by side. */
async function check(recorded: Recorded): Promise<void> {
  const { cases } = recorded;
  const server = new Server(flagsHere(recorded));
  if (writeModel(join(root, 'models'), recorded) !== recorded.digest) {
    failed++;
    table.row(['FAIL', modelOf(recorded), 'its weights', 'are drawn otherwise here: nothing can be compared', '']);
    return;
  }
  const why = await starts(server, recorded);
  if (why !== undefined) return checkApart(recorded, why);
  for (const each of cases) await answers(server, recorded, each);
  await line(server, recorded, 'all at once', async (url) => {
    const got = await Promise.all(cases.map(({ asked }) => ask(url, asked, LINE)));
    got.forEach((each, i) => compare(each, cases[i].answer, recorded));
    return `${got.length} requests`;
  });
  if (recorded.clients) await clients(server, recorded);
  await server.stop();
  if (recorded.clients) await crowded(recorded);
}

/** One policy at a time, where they do not start together; `why`: which is no policy's doing when one alone says the same. */
async function checkApart(recorded: Recorded, why: string): Promise<void> {
  for (const [i, each] of recorded.cases.entries()) {
    const server = new Server(flagsHere({ ...recorded, policies: [recorded.policies[i]] }));
    const apart = await starts(server, recorded);
    if (apart === undefined) await answers(server, recorded, each);
    await server.stop();
    if (i === 0 && apart === why) return;
  }
}

const post = (url: string, path: string, body: object, signal: AbortSignal = AbortSignal.timeout(LINE * 1000)) =>
  fetch(new URL(path, url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });

/** Bytes of pages that requests hold, once no request runs. */
async function heldWhenIdle(url: string): Promise<number> {
  for (;;) {
    const seen = await metrics(url);
    if (seen.get('vllm:num_requests_running') === 0 && seen.get('vllm:num_requests_waiting') === 0)
      return seen.get('skv:kv_cache_bytes')!;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What a client of OpenAI's would do, and one that goes away. */
async function clients(server: Server, recorded: Recorded): Promise<void> {
  const [{ asked, answer }] = recorded.cases;
  const { prompt } = asked;
  await line(server, recorded, 'a chat', async (url) => {
    const chat = { messages: [{ role: 'user', content: 'abc' }], max_tokens: 4, ignore_eos: true };
    const reply = (await (await post(url, '/v1/chat/completions', chat)).json()) as {
      usage?: { completion_tokens: number };
    };
    if (reply.usage?.completion_tokens !== 4) throw new Error(JSON.stringify(reply));
    return '4 tokens';
  });
  await line(server, recorded, 'a stream', async (url) => {
    const { status, error, generated } = await stream(url, { prompt, max_tokens: 8, ignore_eos: true }, () => 0);
    if (status !== 200 || error || generated !== 8) throw new Error(error ?? `${generated} tokens, status ${status}`);
    return '8 tokens';
  });
  await line(server, recorded, 'clients that go away', async (url) => {
    for (let i = 0; i < 6; i++) {
      const leaving = new AbortController();
      const body = { prompt, max_tokens: 48, ignore_eos: true, stream: true };
      const response = await post(url, '/v1/completions', body, leaving.signal);
      if (i % 2) await response.body!.getReader().read();
      leaving.abort();
    }
    const held = await heldWhenIdle(url);
    if (held !== 0) throw new Error(`${held} bytes of pages are held by nobody`);
    return `6 left; then ${compare(await ask(url, asked, LINE), answer, recorded)}`;
  });
  await line(server, recorded, '/health and /metrics', async (url) => {
    const { status } = await fetch(new URL('/health', url));
    if (status !== 200) throw new Error(`/health answers ${status}`);
    const seen = await metrics(url);
    const [generated, found, evicted] = [
      'vllm:generation_tokens_total',
      'vllm:prefix_cache_hits_total',
      'skv:slots_evicted_total',
    ].map((key) => seen.get(key));
    if (!generated || !found) throw new Error(`${generated} tokens, ${found} blocks of the prefix cache were counted`);
    return `${generated} tokens generated, ${found} blocks found in the prefix cache, ${evicted} slots evicted`;
  });
}

/** The full cache in a pool that holds two whole requests, and four that come: some must give up their pages and come back. */
async function crowded(recorded: Recorded): Promise<void> {
  const { cases, policies } = recorded;
  const [{ asked, answer }] = cases;
  const flags = [...flagsHere({ ...recorded, policies: policies.slice(0, 1) }), '--no-enable-prefix-caching'];
  flags[flags.indexOf('--kv-cache-memory') + 1] = '512KiB';
  const server = new Server(flags);
  await line(server, recorded, 'a full pool', async (url) => {
    const got = await Promise.all(Array.from({ length: 4 }, () => ask(url, asked, LINE)));
    for (const each of got) compare(each, answer, recorded);
    const preemptions = (await metrics(url)).get('vllm:num_preemptions_total');
    if (!preemptions) throw new Error('no request was preempted');
    return `${got.length} requests, ${preemptions} preemptions`;
  });
  await server.stop();
}

for (const each of JSON.parse(readFileSync(join(root, 'models', RECORDED), 'utf8')) as Recorded[]) await check(each);
table.say(failed ? `\n${failed} failed` : '\nall passed');
process.exit(failed ? 1 : 0);
