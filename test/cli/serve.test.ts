/** Flags of `skv serve` reach the server; wrong ones are refused before a model is opened, or name what it is. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ggufParts, writeGguf } from '../model/write.ts';
import { skv, start } from './skv.ts';

const folder = mkdtempSync(join(tmpdir(), 'skv-serve-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const model = join(folder, 'tiny.gguf');
writeFileSync(model, writeGguf(ggufParts()));
const template = join(folder, 'mine.jinja');
writeFileSync(template, '{% for m in messages %}{{ m.content }}{% endfor %}');

test('a name, a template, a number of tokens, origins', async () => {
  const child = start([
    ...['serve', '--model', model, '--port', '0', '--threads', '1'],
    ...['--served-model-name', 'small', '--chat-template', template, '--default-max-tokens', '3'],
    ...['--allowed-origins', '["http://localhost:5173"]', '--max-model-len', '64'],
  ]);
  try {
    const url = await new Promise<string>((resolve, reject) => {
      let told = '';
      child.stderr!.on('data', (data) => {
        told += data;
        const found = /on (http:\S+) with/.exec(told);
        if (found) resolve(found[1]);
      });
      child.on('close', () => reject(new Error(told)));
    });
    // biome-ignore lint/suspicious/noExplicitAny: answers of a server are read freely
    const ask = async (path: string, body?: object): Promise<any> => {
      const headers = { 'content-type': 'application/json', origin: 'http://localhost:5173' };
      const response = await fetch(url + path, body && { method: 'POST', headers, body: JSON.stringify(body) });
      const answer = await response.json();
      assert.is(response.status, 200, JSON.stringify(answer));
      if (body) assert.is(response.headers.get('access-control-allow-origin'), headers.origin);
      return answer;
    };
    const [served] = (await ask('/v1/models')).data;
    assert.equal([served.id, served.max_model_len], ['small', 64]);
    assert.match((await ask('/tokenizer_info')).chat_template, /for m in messages/);
    const messages = [{ role: 'user', content: 'abc' }];
    assert.is((await ask('/tokenize', { messages })).count, (await ask('/tokenize', { prompt: 'abc' })).count);
    const unending = { model: 'small', ignore_eos: true };
    for (const [path, body] of [
      ['/v1/chat/completions', { messages }],
      ['/v1/completions', { prompt: 'abc' }],
    ] as const)
      assert.is((await ask(path, { ...unending, ...body })).usage.completion_tokens, 3);
    const named = await ask('/v1/chat/completions', { ...unending, messages, max_tokens: 5 });
    assert.is(named.usage.completion_tokens, 5);
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGTERM');
    assert.is(await ended, 0);
  } finally {
    child.kill('SIGKILL');
  }
});

test('wrong values are refused', async () => {
  const cases: [string[], RegExp][] = [
    [['--max-model-len', '1000000'], /--max-model-len 1000000 is more than the \d+ tokens that tiny was made for/],
    [['--allowed-origins', 'localhost:5173'], /--allowed-origins localhost:5173: write origins such as http:/],
    [['--allowed-origins', 'http://a.example/path'], /--allowed-origins http:\/\/a\.example\/path: write/],
    [['--chat-template', 'nowhere.jinja'], /--chat-template nowhere\.jinja: there is no such file/],
    [['--chat-template', '{% for %}'], /--chat-template: it cannot be read/],
    [['--stream-stall-timeout', 'soon'], /--stream-stall-timeout soon: seconds are needed/],
    [['--load-format', 'dummy'], /--load-format dummy: which --shape\? llama-3-8b, qwen3-8b, smollm2-135m are/],
    [['--load-format', 'random'], /--load-format random: auto and dummy are possible/],
    [['--shape', 'qwen3-8b'], /'--shape <name>' cannot be used with option '--model <model>'/],
    [['--dtype', 'f16'], /--dtype f16: auto and f32 are possible/],
    [['--default-max-tokens', '0'], /--default-max-tokens 0: a whole number from 1/],
  ];
  for (const [flags, words] of cases) {
    const { code, err } = await skv('serve', '--model', model, '--port', '0', ...flags);
    assert.is(code, 1, err);
    assert.match(err, words);
  }
});

test.run();
