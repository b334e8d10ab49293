/** The commands on the real model: pull, run, trace, eval, serve. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mobyDick } from '../../eval/text.ts';
import { elsewhere, skv, start } from './skv.ts';

writeFileSync(join(elsewhere, 'book.txt'), mobyDick().slice(0, 6000));

test('pull prints the path', async () => {
  const { code, out, err } = await skv('pull', 'smollm2-135m', '--json');
  assert.is(code, 0, err);
  assert.match(JSON.parse(out).path, /\.gguf$/);
});

test('run answers', async () => {
  const { code, out, err } = await skv(
    'run',
    'What is the capital city of Japan?',
    '--policy',
    'h2o',
    '--param',
    'budget=64',
    '--param',
    'recent=32',
    '--max-tokens',
    '16',
  );
  assert.is(code, 0, err);
  assert.match(out, /Tokyo/);
  assert.match(err, /tok\/s; KV cache/);
});

test('trace prints tokens and what each compaction kept', async () => {
  writeFileSync(join(elsewhere, 'tokens.json'), JSON.stringify(Array.from({ length: 70 }, (_, i) => 100 + i)));
  const { code, out, err } = await skv(
    'trace',
    'h2o',
    '--tokens',
    'tokens.json',
    '--param',
    'budget=32',
    '--param',
    'recent=16',
    '--json',
  );
  assert.is(code, 0, err);
  const { tokens, compactions } = JSON.parse(out);
  assert.is(tokens.length, 70);
  assert.equal(
    compactions.map((each: { at: number }) => each.at),
    [70],
  );
  const kept = compactions[0].kept as number[][][];
  assert.is(kept.length, 30);
  for (const heads of kept) {
    assert.is(heads.length, 3);
    for (const positions of heads) {
      assert.is(positions.length, 32);
      assert.equal(
        positions.slice(-16),
        Array.from({ length: 16 }, (_, i) => 54 + i),
      );
    }
  }
  const picture = await skv(
    'trace',
    'streaming',
    '--prompt-file',
    'book.txt',
    '--param',
    'budget=64',
    '--max-tokens',
    '3',
  );
  assert.match(picture.out, /29\.2 │.*│ 64/);
  const rules = await skv('trace', 'fastgen', '--tokens', 'tokens.json', '--param', 'recovers=0', '--max-tokens', '0');
  assert.match(rules.out, /29\.2 │.*│ \d+ {2}special$/m);
});

test('eval nll compares with the full cache', async () => {
  const { code, out, err } = await skv(
    'eval',
    'nll',
    '--text',
    'book.txt',
    '--prefix',
    '512',
    '--continue',
    '64',
    '--policy',
    'snapkv',
    '--ratio',
    '0.3',
    '--json',
  );
  assert.is(code, 0, err);
  const { full, policies } = JSON.parse(out);
  assert.ok(full > 0.5 && full < 5, String(full));
  assert.is(policies[0].policy, 'snapkv');
  assert.ok(Math.abs(policies[0].difference) < 0.5);
});

test('eval keys counts what was found', async () => {
  const args = [
    'eval',
    'keys',
    '--text',
    'book.txt',
    '--prefix',
    '512',
    '--policy',
    'streaming',
    '--param',
    'budget=64',
  ];
  const { code, out, err } = await skv(...args, '--trials', '2');
  assert.is(code, 0, err);
  assert.match(out, /^2 keys in 512 tokens each\nnone +2 found .*\nstreaming +0 found .* missed at \d+ %, \d+ %\n$/);
  const short = await skv(...args, '--trials', '5');
  assert.is(short.code, 1);
  assert.match(short.err, /book\.txt has \d+ tokens; 2560 are needed/);
});

test('serve answers, and SIGTERM ends it with 0', async () => {
  const child = start([
    'serve',
    '--port',
    '0',
    '--sparse-kv-cache-type',
    'h2o',
    '--sparse-kv-cache-type',
    'streaming',
    '--kv-cache-memory',
    '256MiB',
  ]);
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let err = '';
      child.stderr!.on('data', (chunk) => {
        err += chunk;
        const found = err.match(/on (http:\S+) with h2o/);
        if (found) resolve(found[1]);
      });
      child.on('close', () => reject(new Error(err)));
    });
    const answer = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        messages: [{ role: 'user', content: 'What is the capital city of Japan?' }],
        max_tokens: 12,
        temperature: 0,
        sparse_kv: { policy: 'streaming', budget: 128 },
      }),
    });
    assert.match(
      ((await answer.json()) as { choices: { message: { content: string } }[] }).choices[0].message.content,
      /Tokyo/,
    );
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGTERM');
    assert.is(await ended, 0);
  } finally {
    child.kill('SIGKILL'); // a check that fails leaves no server behind
  }
});

test.run();
