/** `skv serve` on the real model as a process: what memory it takes, what it costs while idle. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, shipped } from '../../codegen/build.ts';
import { DEFAULT_MODEL, resolveModel } from '../../runtime/model/source.ts';
import { start } from './skv.ts';

for (const name of ['none', 'h2o']) await build(shipped(name)!); // a server that compiles has TypeScript in memory as well
const pool = 256 << 20;
const weights = statSync(await resolveModel(DEFAULT_MODEL)).size;

const running = new Set<ChildProcess>();

interface Started {
  child: ChildProcess;
  url: string;
  stop(): Promise<void>;
}

async function serve(...flags: string[]): Promise<Started> {
  const child = start(['serve', '--port', '0', '--kv-cache-memory', String(pool), ...flags]);
  let errors = '';
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr!.on('data', (chunk) => {
      errors += chunk;
      const [address] = errors.match(/http:\/\/\S+/) ?? [];
      if (address) resolve(address);
    });
    child.once('exit', () => reject(new Error(errors)));
  });
  running.add(child);
  const stop = async () => {
    child.kill('SIGTERM');
    await once(child, 'exit');
    running.delete(child);
  };
  return { child, url, stop };
}

/**
 * Most memory the process ever had, without the pages of Node's own file and of libraries, which every process of a machine
 * shares: Node's heaps, weights, the pool's used pages, tables and scratch.
 */
function peak({ child }: Started): number {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const field = (name: string) => Number(status.match(new RegExp(`${name}:\\s+(\\d+) kB`))![1]) * 1024;
  return field('VmHWM') - field('RssFile');
}

/** Seconds of processor time, of all threads, so far (fields 14 and 15, in hundredths). */
function processorSeconds({ child }: Started): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

const MB = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

test('memory stays near weights and pool, and idle costs no processor', async () => {
  const server = await serve('--sparse-kv-cache-type', 'none', '--sparse-kv-cache-type', 'h2o');
  const loaded = peak(server);
  for (const policy of ['none', 'h2o']) {
    const response = await fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        prompt: 'the whale rose '.repeat(2300),
        max_tokens: 16,
        stream: true, // which speaks all the time: the prompt takes minutes on a processor without AVX2
        stream_options: { include_usage: true },
        sparse_kv: { policy },
      }),
    });
    const prompt = (await response.text()).match(/"prompt_tokens":(\d+)/);
    assert.ok(Number(prompt?.[1]) > 6000, `the prompt had ${prompt?.[1]} tokens`);
  }
  const busy = peak(server);
  await sleep(500);
  const before = processorSeconds(server);
  await sleep(1000);
  const idle = processorSeconds(server) - before;
  console.log(
    `weights ${MB(weights)}, pool ${MB(pool)}; peak ${MB(loaded)} after loading, ${MB(busy)} after two long requests, beside Node's own file; one idle second ${(idle * 1000).toFixed(0)} ms of processor`,
  );
  assert.ok(loaded < 1.3 * (weights + pool));
  assert.ok(busy < 1.3 * (weights + pool), `${MB(busy)} is more than ${MB(1.3 * (weights + pool))}`);
  assert.ok(idle <= 0.1); // processor time, to which other processes add nothing
  await server.stop();
});

test.after(() => running.forEach((child) => child.kill('SIGKILL'))); // what a failed test left

test.run();
